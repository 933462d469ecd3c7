package natpmp

import "time"

// epoch remembers what a gateway last said about how long it has run. When
// that does not fit to our own clock, the gateway has forgotten its mappings.
// The zero value has heard nothing.
type epoch struct {
	server uint32
	client time.Time
}

// pcp applies RFC 6887 8.5, whose numbers are whole seconds.
func (e *epoch) pcp(server uint32, now time.Time) (lost bool) {
	prev := *e
	*e = epoch{server: server, client: now}
	if prev.client.IsZero() {
		return false
	}
	if int64(server)+1 < int64(prev.server) {
		return true
	}
	clientDelta := int64(now.Sub(prev.client) / time.Second)
	serverDelta := int64(server) - int64(prev.server)
	return clientDelta+2 < serverDelta-serverDelta/16 || serverDelta+2 < clientDelta-clientDelta/16
}

// natpmp applies RFC 6886 3.6: a gateway's clock may be slow by an eighth.
func (e *epoch) natpmp(server uint32, now time.Time) (lost bool) {
	prev := *e
	*e = epoch{server: server, client: now}
	if prev.client.IsZero() {
		return false
	}
	elapsed := int64(now.Sub(prev.client) / time.Second)
	return int64(server)+2 < int64(prev.server)+elapsed*7/8
}
