package standin

import (
	"fmt"

	"github.com/maja42/goval"
)

// evaluate decides by the library that the engine decides by.
func evaluate(rule string, quota, size, inUse int64) (bool, error) {
	if rule == "" {
		return true, nil
	}
	result, err := goval.NewEvaluator().Evaluate(rule, map[string]any{
		"dbQuota":      float64(quota),
		"dbSize":       float64(size),
		"dbSizeInUse":  float64(inUse),
		"dbSizeFree":   float64(size - inUse),
		"dbQuotaUsage": float64(size) / float64(quota),
	}, nil)
	if err != nil {
		return false, err
	}
	fires, ok := result.(bool)
	if !ok {
		return false, fmt.Errorf("the rule is %v, which is neither true nor false", result)
	}
	return fires, nil
}
