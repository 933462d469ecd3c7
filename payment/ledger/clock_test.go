package ledger

import (
	"strings"
	"testing"
	"time"
)

// A slow answer says less about our clock, and nothing that is false.
func TestCompareClocks(t *testing.T) {
	at := func(seconds int) time.Time { return today.Add(time.Duration(seconds) * time.Second) }
	for name, tt := range map[string]struct {
		asked, answered, ledger int
		says                    string
	}{
		"the same":               {0, 0, 0, ""},
		"at the edge, behind":    {0, 0, 120, ""},
		"at the edge, ahead":     {0, 0, -120, ""},
		"behind":                 {0, 1, 122, "is 2m1s behind the ledger's, which says " + at(122).Format(time.DateTime) + " UTC: set it right"},
		"ahead":                  {0, 30, -121, "is 2m1s ahead of the ledger's"},
		"hours behind":           {0, 0, 3 * 3600, "is 3h0m0s behind"},
		"a slow answer":          {0, 60, 170, ""},
		"a slow answer, behind":  {0, 60, 190, "2m10s behind"},
		"an answer of no sense":  {0, 0, 1 << 60, "behind"},
		"before the first of us": {0, 0, -1 << 60, "ahead"},
	} {
		t.Run(name, func(t *testing.T) {
			wrong := CompareClocks(at(tt.asked), at(tt.answered), time.Unix(today.Unix()+int64(tt.ledger), 0))
			switch {
			case wrong == nil && tt.says != "":
				t.Error("it is right")
			case wrong != nil && (tt.says == "" || !strings.Contains(wrong.Error(), tt.says)):
				t.Error(wrong)
			}
		})
	}
}
