/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that nodes must have and that a bundle does not carry: which package brings them. */
#pragma once

#include <stddef.h>

enum kp_family { KP_FAMILY_DEBIAN, KP_FAMILY_RHEL, KP_FAMILY_SUSE, KP_FAMILIES };

/* "Debian, Ubuntu" */
const char *kp_family_text(enum kp_family family);
/* "conntrack-tools" for conntrack on RHEL; the program's own name where it is not known. */
const char *kp_program_package(const char *program, enum kp_family family);
/* The family by os-release's ID and ID_LIKE (each may be NULL); KP_FAMILIES where unknown. */
enum kp_family kp_family_of(const char *id, const char *id_like);
