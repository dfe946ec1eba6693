package feed

import "fmt"

// SType is a symbology type: how an instrument is named.
type SType uint8

// The symbology types of DBN by their numbers.
const (
	STypeInstrumentID SType = iota
	STypeRawSymbol
	STypeSmart // deprecated
	STypeContinuous
	STypeParent
	STypeNasdaqSymbol
	STypeCmsSymbol
	STypeIsin
	STypeUsCode
	STypeBbgCompID
	STypeBbgCompTicker
	STypeFigi
	STypeFigiTicker
	STypeListingID
	STypeIssuerID
	STypeSecurityID

	// STypeNone says that there is none, or several.
	STypeNone SType = 0xFF
)

var stypeNames = [...]string{
	STypeInstrumentID:  "instrument_id",
	STypeRawSymbol:     "raw_symbol",
	STypeSmart:         "smart",
	STypeContinuous:    "continuous",
	STypeParent:        "parent",
	STypeNasdaqSymbol:  "nasdaq_symbol",
	STypeCmsSymbol:     "cms_symbol",
	STypeIsin:          "isin",
	STypeUsCode:        "us_code",
	STypeBbgCompID:     "bbg_comp_id",
	STypeBbgCompTicker: "bbg_comp_ticker",
	STypeFigi:          "figi",
	STypeFigiTicker:    "figi_ticker",
	STypeListingID:     "listing_id",
	STypeIssuerID:      "issuer_id",
	STypeSecurityID:    "security_id",
}

// ParseSType gives the symbology type of a standard name; "native" and "product_id", the names that old clients still
// send, are raw_symbol and instrument_id. ErrSType: there is none; "none" is not one.
func ParseSType(name string) (SType, error) {
	switch name {
	case "native":
		return STypeRawSymbol, nil
	case "product_id":
		return STypeInstrumentID, nil
	}
	for st, n := range stypeNames {
		if n == name {
			return SType(st), nil
		}
	}
	return STypeNone, fmt.Errorf("%w %q: the usual ones are raw_symbol, instrument_id, parent and continuous", ErrSType, name)
}

// Valid reports whether st is a symbology type of its own; STypeNone is not.
func (st SType) Valid() bool { return int(st) < len(stypeNames) }

// String is the standard name; "none" for STypeNone, "stype N" for an unknown number.
func (st SType) String() string {
	switch {
	case st.Valid():
		return stypeNames[st]
	case st == STypeNone:
		return "none"
	}
	return fmt.Sprintf("stype %d", uint8(st))
}
