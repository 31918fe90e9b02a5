/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database of installed packages of Debian and its children, as text: dpkg's status file, or
 * the files of status.d that images without dpkg have. Pure.
 */
#pragma once

#include "core/slice.h"

struct kp_dpkg_package {
    struct kp_slice name, version,
        arch; /* slices of the text; held to Debian Policy's characters */
};
typedef void kp_dpkg_each(void *user, const struct kp_dpkg_package *package);
/* Calls each for every package that is installed (a stanza without Status counts as such), in
 * order. Stanzas that lack a field or have characters that no package has are left out; returns
 * how many. */
size_t kp_dpkg_parse(struct kp_slice text, kp_dpkg_each *each, void *user);
/* A field of the first stanza, or of a KEY=VALUE file (separator '='), quotes taken off; empty
 * where it is not there. */
struct kp_slice kp_dpkg_field(struct kp_slice text, char separator, const char *key);
