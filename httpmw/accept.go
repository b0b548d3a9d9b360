package httpmw

import (
	"mime"
	"strconv"
	"strings"
)

// prefersJSON negotiates between application/json and text/plain by the values
// of the Accept header (RFC 9110, section 12.5.1), as Answer documents.
func prefersJSON(accept []string) bool {
	ranges := parseAccept(strings.Join(accept, ","))
	if len(ranges) == 0 {
		return true
	}
	asJSON, asText := ranges.quality("application/json"), ranges.quality("text/plain")
	if asText > 0 {
		asText = max(asText, ranges.quality("text/html"))
	}
	return asJSON > 0 && asJSON >= asText
}

// mediaRanges holds the weight, from 0 to 1, of each media range in lower case.
type mediaRanges map[string]float64

// quality returns the weight of the most specific range that mediaType falls
// in, or 0.
func (m mediaRanges) quality(mediaType string) float64 {
	main, _, _ := strings.Cut(mediaType, "/")
	for _, r := range [...]string{mediaType, main + "/*", "*/*"} {
		if q, ok := m[r]; ok {
			return q
		}
	}
	return 0
}

// parseAccept leaves out what it cannot read. Parameters other than the weight
// are ignored; of ranges that then are the same the best weight counts.
func parseAccept(accept string) mediaRanges {
	ranges := mediaRanges{}
	for _, element := range splitList(accept) {
		mediaType, params, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		if q, ok := weight(params); ok {
			ranges[mediaType] = max(ranges[mediaType], q)
		}
	}
	return ranges
}

func weight(params map[string]string) (float64, bool) {
	text, ok := params["q"]
	if !ok {
		return 1, true
	}
	q, err := strconv.ParseFloat(text, 64)
	return q, err == nil && q >= 0 && q <= 1
}

// splitList splits at the commas that are not in a quoted string.
func splitList(list string) []string {
	quoted, escaped := false, false
	return strings.FieldsFunc(list, func(c rune) bool {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}
		return c == ',' && !quoted
	})
}
