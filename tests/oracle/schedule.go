package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

func init() {
	subjects["accepts"] = accepts
	subjects["fires"] = fires
	subjects["duration"] = duration
	subjects["zone"] = zone
}

// parse is what the API server does with the schedule of a new CronJob: ParseStandard, where a panic counts as an error.
func parse(text string) (schedule cron.Schedule, ok bool) {
	defer func() {
		if recover() != nil {
			schedule, ok = nil, false
		}
	}()
	schedule, err := cron.ParseStandard(text)
	return schedule, err == nil
}

// accepts takes a JSON string and answers 1 if the API server takes it as a schedule, else 0.
func accepts(line []byte) string {
	var text string
	if json.Unmarshal(line, &text) != nil {
		return "?"
	}
	if _, ok := parse(text); !ok || strings.Contains(text, "TZ") {
		return "0"
	}
	return "1"
}

var zones = map[string]*time.Location{}

// fires takes {"schedule", "zone", "after" (Unix nanoseconds), "count"} and answers the Unix seconds of that many fire
// times, each found from the one before; "-" where there is none any more. The zone is set as the controller sets it.
func fires(line []byte) string {
	var question struct {
		Schedule, Zone string
		After          int64
		Count          int
	}
	if json.Unmarshal(line, &question) != nil {
		return "?"
	}
	location := zones[question.Zone]
	if location == nil {
		var err error
		if location, err = time.LoadLocation(question.Zone); err != nil {
			return "no zone"
		}
		zones[question.Zone] = location
	}
	schedule, ok := parse(question.Schedule)
	if !ok {
		return "no schedule"
	}
	if fields, ok := schedule.(*cron.SpecSchedule); ok {
		fields.Location = location
	}
	var answer strings.Builder
	at := time.Unix(0, question.After).UTC()
	for range question.Count {
		if at = schedule.Next(at); at.IsZero() {
			answer.WriteString("- ")
			break
		}
		answer.WriteString(strconv.FormatInt(at.Unix(), 10))
		answer.WriteByte(' ')
	}
	return answer.String()
}

// duration takes a JSON string and answers its nanoseconds and how Go prints them, or "error".
func duration(line []byte) string {
	var text string
	if json.Unmarshal(line, &text) != nil {
		return "?"
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return "error"
	}
	return strconv.FormatInt(int64(parsed), 10) + " " + parsed.String()
}

// zone takes a JSON string and answers 1 if Go finds a zone of that name, else 0.
func zone(line []byte) string {
	var text string
	if json.Unmarshal(line, &text) != nil {
		return "?"
	}
	if _, err := time.LoadLocation(text); err != nil {
		return "0"
	}
	return "1"
}
