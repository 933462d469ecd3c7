package bencode

// MaxDepth is the deepest nesting that any Limits can allow: the scanner's
// stack is that long, and never grows.
const MaxDepth = 64

// Limits bound what a source may send. Everything beyond them is refused
// before any memory is spent on it.
type Limits struct {
	Size     int  // bytes of the whole input, what follows the value included
	Depth    int  // lists and dictionaries inside each other; at most MaxDepth
	Tokens   int  // integers, strings (keys too), lists and dictionaries
	String   int  // bytes of one string
	Unsorted bool // keys may come in any order; a key that comes twice is refused always
}

// The limits of each source. Torrent files and info dictionaries made by old
// programs have unsorted keys, and their hash is over the bytes as they are, so
// order is not asked of them; on the wire it is.
var (
	// Torrent is for torrent files.
	Torrent = Limits{Size: 10 << 20, Depth: MaxDepth, Tokens: 3_000_000, String: 10 << 20, Unsorted: true}
	// Metadata is for info dictionaries that came from peers (BEP 9).
	Metadata = Limits{Size: 30 << 20, Depth: MaxDepth, Tokens: 3_000_000, String: 30 << 20, Unsorted: true}
	// Tracker is for what an HTTP tracker answers, after decompression.
	Tracker = Limits{Size: 2 << 20, Depth: 8, Tokens: 200_000, String: 2 << 20}
	// DHT is for one packet of the distributed hash table (BEP 5).
	DHT = Limits{Size: 1536, Depth: 8, Tokens: 512, String: 1536}
	// Extended is for messages of the extension protocol (BEP 10), ut_metadata
	// and ut_pex among them, without the data that may follow.
	Extended = Limits{Size: 17 << 10, Depth: 8, Tokens: 2048, String: 17 << 10}
)
