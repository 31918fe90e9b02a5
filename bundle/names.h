/* SPDX-License-Identifier: Apache-2.0 */
/* The strict forms that texts of a manifest must have; pure predicates. docs/format.md lists them.
 */
#pragma once

#include <stdbool.h>

bool kp_name_ok(const char *text); /* [A-Za-z0-9][A-Za-z0-9._+-]*, at most KP_NAME_MAX, no ".." */
bool kp_version_ok(const char *text);    /* the same set, also ":~" (package epochs) */
bool kp_kubernetes_ok(const char *text); /* v1.30.14, v1.31.0-rc.1 */
bool kp_arch_ok(const char *text);       /* Go's names: amd64, arm64 … */
/* Absolute, normalised: no "." or ".." part, no "//", no '/' at the end, parts at most 255 bytes of
 * [A-Za-z0-9._+@:~-]. */
bool kp_target_ok(const char *text);
bool kp_media_type_ok(const char *text); /* RFC 6838 */
/* host/path:tag, host/path@sha256:…, or both; the host has a dot or a port, or is localhost. */
bool kp_reference_ok(const char *text);
