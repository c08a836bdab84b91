package main

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/robfig/cron/v3"
)

func init() {
	subjects["bench"] = bench
}

// A question is what to do how often: "parse" a schedule; find the "next" fire time after an instant (Unix seconds) in
// a zone, parsing included; or evaluate a "rule" at a state, as in ruleQuestion.
type benchQuestion struct {
	What       string
	Text       string
	Zone       string
	After      int64
	State      [3]int64
	Iterations int
}

// Where results go, so that the compiler cannot drop the work.
var benchSink any

// bench answers with the nanoseconds that one iteration took, timed in here, so that no pipe counts.
func bench(line []byte) string {
	var question benchQuestion
	if json.Unmarshal(line, &question) != nil || question.Iterations < 1 {
		return "?"
	}
	location, err := time.LoadLocation(question.Zone)
	if err != nil {
		return "no zone"
	}
	after := time.Unix(question.After, 0).UTC()
	var work func()
	switch question.What {
	case "parse":
		work = func() { benchSink, _ = parse(question.Text) }
	case "next":
		work = func() {
			schedule, _ := parse(question.Text)
			if fields, ok := schedule.(*cron.SpecSchedule); ok {
				fields.Location = location
			}
			benchSink = schedule.Next(after)
		}
	case "rule":
		size, inUse, quota := question.State[0], question.State[1], question.State[2]
		work = func() { benchSink = ruleAt(question.Text, size, inUse, quota) }
	default:
		return "?"
	}
	began := time.Now()
	for range question.Iterations {
		work()
	}
	took := float64(time.Since(began).Nanoseconds())
	return strconv.FormatFloat(took/float64(question.Iterations), 'f', 2, 64)
}
