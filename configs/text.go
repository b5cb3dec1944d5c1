package configs

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// setText sets a scalar, or a list of scalars separated by commas, from text.
// The hint may be empty.
func setText(v reflect.Value, text string) (hint string, err error) {
	if shapeOf(v.Type()) == list {
		return setList(settle(v), text)
	}
	return setScalar(settle(v), text)
}

func setList(v reflect.Value, text string) (hint string, err error) {
	items := reflect.MakeSlice(v.Type(), 0, 0)
	if strings.TrimSpace(text) != "" {
		for item := range strings.SplitSeq(text, ",") {
			e := reflect.New(v.Type().Elem()).Elem()
			if hint, err = setScalar(settle(e), strings.TrimSpace(item)); err != nil {
				return hint, err
			}
			items = reflect.Append(items, e)
		}
	}
	v.Set(items)
	return "", nil
}

func setScalar(v reflect.Value, text string) (hint string, err error) {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return "", u.UnmarshalText([]byte(text))
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		if err != nil {
			return "write a number and a unit, as in 10s or 1h30m", fmt.Errorf("%q is not a duration", text)
		}
		v.SetInt(int64(d))
		return "", nil
	}
	switch {
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		switch text {
		case "true", "false":
			v.SetBool(text == "true")
		default:
			return "write true or false", fmt.Errorf("%q is not a boolean", text)
		}
	case v.CanInt():
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return "", numberError(text, "a whole number", err)
		}
		v.SetInt(n)
	case v.CanUint():
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return "", numberError(text, "a whole number from 0", err)
		}
		v.SetUint(n)
	default:
		n, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil {
			return "", numberError(text, "a number", err)
		}
		v.SetFloat(n)
	}
	return "", nil
}

func numberError(text, want string, err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is out of range", text)
	}
	return fmt.Errorf("%q is not %s", text, want)
}
