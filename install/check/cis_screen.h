/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* The report of kp_cis_report() as a table, what failed below it, and what is not covered. */
void kp_cis_print(const json_t *report, FILE *to);
