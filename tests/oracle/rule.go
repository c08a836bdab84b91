package main

import (
	"encoding/json"

	"github.com/maja42/goval"
)

func init() {
	subjects["rule"] = rule
}

// A question is a rule and the states to evaluate it at: [dbSize, dbSizeInUse, dbQuota] each, in bytes.
type ruleQuestion struct {
	Rule   string     `json:"rule"`
	States [][3]int64 `json:"states"`
}

// rule answers with a character per state: "1" where the rule is true, "0" where it is false, "e" where it fails or is
// neither, "p" where it panics, which ends the engine. A line that is no question gets "?".
func rule(line []byte) string {
	var question ruleQuestion
	if err := json.Unmarshal(line, &question); err != nil {
		return "?"
	}
	answer := make([]byte, len(question.States))
	for i, state := range question.States {
		answer[i] = ruleAt(question.Rule, state[0], state[1], state[2])
	}
	return string(answer)
}

// ruleAt calls the library with the variables of etcd-defrag v0.42.0.
func ruleAt(rule string, size, inUse, quota int64) (answer byte) {
	if rule == "" {
		return '1'
	}
	defer func() {
		if recover() != nil {
			answer = 'p'
		}
	}()
	value, err := goval.NewEvaluator().Evaluate(rule, map[string]interface{}{
		"dbSize":       float64(size),
		"dbSizeInUse":  float64(inUse),
		"dbSizeFree":   float64(size - inUse),
		"dbQuota":      float64(quota),
		"dbQuotaUsage": float64(size) / float64(quota),
	}, nil)
	if err != nil {
		return 'e'
	}
	switch value {
	case true:
		return '1'
	case false:
		return '0'
	}
	return 'e'
}
