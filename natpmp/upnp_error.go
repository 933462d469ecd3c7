package natpmp

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"github.com/huin/goupnp/soap"
)

// The errors that are decided by (IGD 1 2.4.16, IGD 2 2.5.16,
// WANIPv6FirewallControl 2.5.6).
const (
	upnpActionFailed   = 501
	upnpNotAuthorized  = 606
	upnpNoPinholes     = 703 // InboundPinholeNotAllowed
	upnpNoSuchPinhole  = 704
	upnpNoSuchEntry    = 714
	upnpConflict       = 718
	upnpOnlyPermanent  = 725
	upnpNoMapsLeft     = 728
	upnpOtherMechanism = 729
)

// upnpError reads the library's errors. A fault's text is the gateway's.
func upnpError(err error) error {
	var fault *soap.SOAPFaultError
	if !errors.As(err, &fault) {
		return lostCause(err)
	}
	name := clean(fault.Detail.UPnPError.ErrorDescription)
	if name == "" {
		name = clean(fault.FaultString)
	}
	return &refusal{protocol: UPnP, code: fault.Detail.UPnPError.Errorcode, name: name}
}

// lostCause is unanswered for the library's errors, which keep only the text
// of what caused them.
func lostCause(err error) error {
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), syscall.ECONNREFUSED.Error()):
		return errClosed
	case strings.Contains(err.Error(), context.DeadlineExceeded.Error()):
		return errSilent
	}
	return unanswered(err)
}

// refusedBy tells whether err is a refusal by that code of UPnP.
func refusedBy(err error, code int) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.protocol == UPnP && refused.code == code
}

func upnpRemedy(code int) string {
	switch code {
	case upnpNotAuthorized, upnpNoPinholes:
		return remedyAllow
	case upnpActionFailed:
		return remedyNetwork
	case upnpNoMapsLeft:
		return remedyRoom
	case upnpConflict, upnpOtherMechanism:
		return remedyTaken
	}
	return ""
}
