// SPDX-License-Identifier: Apache-2.0

// Package common stands in for a cloud SDK that cannot be had where the lab is built. Flannel's
// backend for that cloud compiles against it and is never used in the lab.
package common

func StringPtr(v string) *string { return &v }

func BoolPtr(v bool) *bool { return &v }

func StringPtrs(values []string) []*string {
	out := make([]*string, len(values))
	for i := range values {
		out[i] = &values[i]
	}
	return out
}
