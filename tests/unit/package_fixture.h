/* SPDX-License-Identifier: Apache-2.0 */
/* Small distribution packages, written by hand: deb(5) with plain tar members, RPM with plain cpio.
 */
#pragma once

#include "core/buf.h"

/* control: the whole control file, or NULL for a package without one. entries: "usr/sbin/x",
 * NULL-terminated. */
void package_deb(struct kp_buf *out, const char *control, const char *const *entries);
void package_rpm(struct kp_buf *out, const char *const *entries);
