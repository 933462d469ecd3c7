package bencode

import (
	"bytes"
	"fmt"
	"math"

	jackpal "github.com/jackpal/bencode-go"
)

// Raw is an encoded value that Encode writes as it is: an info dictionary,
// whose hash would be another if it were written anew.
type Raw []byte

// Encode writes v canonically: keys sorted, numbers in their one spelling. It
// takes string, []byte, int, int64, uint32, Raw, []any, []string and
// map[string]any of these; anything else is an error, and so is a Raw that is
// not one value.
func Encode(v any) ([]byte, error) {
	t, err := tree(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := jackpal.Marshal(&b, t); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b.Bytes(), nil
}

// tree is v in types of which the library's encoding is known to be canonical
// and whole: it leaves out nil slices, and writes booleans and floats its own way.
func tree(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte: // nil too, which the library would leave out with its key
		return string(v), nil
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint32:
		return int64(v), nil
	case Raw:
		// What we embed was within the limits of its source; here it only has to
		// be one value, so that what follows stays in its place.
		anything := Limits{Size: math.MaxInt32, Depth: MaxDepth, Tokens: math.MaxInt32, String: math.MaxInt32, Unsorted: true}
		if err := Check(v, anything); err != nil {
			return nil, fmt.Errorf("encode a raw value: %w", err)
		}
		return jackpal.RawMessage(v), nil
	case []string:
		return list(v)
	case []any:
		return list(v)
	case map[string]any:
		return dictionary(v)
	}
	return nil, fmt.Errorf("encode %T: %w", v, ErrType)
}

func list[T any](v []T) (any, error) {
	out := make([]any, len(v))
	for i := range v {
		var err error
		if out[i], err = tree(v[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func dictionary(v map[string]any) (any, error) {
	out := make(map[string]any, len(v))
	for k := range v {
		t, err := tree(v[k])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", k, err)
		}
		out[k] = t
	}
	return out, nil
}
