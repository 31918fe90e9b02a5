/* SPDX-License-Identifier: Apache-2.0 */
/* Golden files: what is rendered, compared with tests/data/rendered; KP_GOLDEN=write writes them.
 */
#pragma once

/* Fails the test where text is not what the file of that name has. */
void golden_check(const char *name, const char *text);
