package bencode

// Cursor walks a value token by token, each byte once, however deep the value
// nests: what an index for each level would look at once for each level.
type Cursor struct {
	raw []byte
	at  int
}

// Token is what a Cursor meets: an integer, a string (a key too), the start of
// a list or dictionary, or its end.
type Token struct {
	Kind  Kind
	Int   int64  // of an integer
	Bytes []byte // of a string, in the memory of the input
}

// Cursor starts a walk at the beginning of v.
func (v Value) Cursor() *Cursor { return &Cursor{raw: v.raw} }

// Next takes a token. After the value's last one, tokens are of no kind.
func (c *Cursor) Next() Token {
	if c.at >= len(c.raw) {
		return Token{}
	}
	t := Token{Kind: kind(c.raw[c.at])}
	switch t.Kind {
	case Integer:
		t.Int, c.at = number(c.raw, c.at+1)
		c.at++
	case String:
		n, colon := number(c.raw, c.at)
		c.at = colon + 1 + int(n)
		t.Bytes = c.raw[colon+1 : c.at]
	default:
		c.at++
	}
	return t
}

// Value takes a whole value instead of its first token. At the end of a list
// or dictionary, or of everything, it takes nothing.
func (c *Cursor) Value() Value {
	if c.at >= len(c.raw) || c.raw[c.at] == 'e' {
		return Value{}
	}
	from := c.at
	c.at = skip(c.raw, from)
	return Value{c.raw[from:c.at:c.at]}
}

// Peek is the kind of the next token, not taken.
func (c *Cursor) Peek() Kind {
	if c.at >= len(c.raw) {
		return 0
	}
	return kind(c.raw[c.at])
}
