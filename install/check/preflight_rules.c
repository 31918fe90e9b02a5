/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/preflight_rules.h"

#include <stdio.h>

void kp_found(const struct kp_look *look, enum kp_level level, const char *check, const char *next,
              const char *fmt, ...)
{
    char text[KP_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    kp_findings_add(look->out, look->node, level, check, text, next);
}

json_int_t kp_fact_number(const json_t *part, const char *key)
{
    return json_integer_value(json_object_get(part, key));
}
