/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/rules.h"

#include "core/slice.h"
#include "core/text.h"
#include "install/inventory/network.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define LABEL_MAX 63
#define LABEL_KEY_MAX 317 /* 253 of the prefix, a slash, 63 of the name */
#define SCHEDULE_MAX 128
#define HOST_KEY_MAX 4096
#define ARG_VALUE_MAX 1024
#define ANNOTATION_MAX 4096
#define SYSCTL_MAX 128

static bool only(const char *text, const char *good)
{
    return text[strspn(text, good)] == '\0';
}

bool kp_rule_name(const char *text)
{
    return kp_text_dns_name(text, 63) && !strchr(text, '.');
}

bool kp_rule_user(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= 32 && text[0] != '-' && only(text, LETTERS DIGITS "_.-");
}

bool kp_rule_plain(const char *text)
{
    return text[0] && kp_text_plain(text, 253) && !strpbrk(text, " ,\"'\\");
}

bool kp_rule_domain(const char *text)
{
    return kp_text_dns_name(text, 253);
}

bool kp_rule_version(const char *text)
{
    return text[0] == 'v' && kp_text_dns_name(text, 32);
}

bool kp_rule_endpoint(const char *text)
{
    return strcmp(text, "local") == 0 || strcmp(text, "first") == 0 ||
           strcmp(text, "kube-vip") == 0 || kp_network_is_host_port(text);
}

bool kp_rule_interface(const char *text)
{
    return text[0] && strlen(text) <= 15 && kp_text_plain(text, 15) && !strpbrk(text, " /\"'\\:");
}

bool kp_rule_folder(const char *text)
{
    return text[0] == '/' && !strstr(text, "..") && !strpbrk(text, " \t\"'$\\%");
}

bool kp_rule_host_key(const char *text)
{
    static const char *const types[] = {"ssh-ed25519 ", "ecdsa-sha2-nistp256 ",
                                        "ecdsa-sha2-nistp384 ", "ecdsa-sha2-nistp521 ", "ssh-rsa "};
    for (size_t i = 0; i < KP_COUNT(types); i++)
        if (kp_starts_with(text, types[i]) && kp_text_plain(text, HOST_KEY_MAX))
            return true;
    return false;
}

bool kp_rule_schedule(const char *text)
{
    return text[0] && strlen(text) <= SCHEDULE_MAX && only(text, LETTERS DIGITS "-:*/,.~ ");
}

bool kp_rule_label_value(const char *text)
{
    size_t len = strlen(text);
    if (!len)
        return true;
    return len <= LABEL_MAX && only(text, LETTERS DIGITS "-_.") && !strchr("-_.", text[0]) &&
           !strchr("-_.", text[len - 1]);
}

bool kp_rule_label_key(const char *text)
{
    const char *slash = strchr(text, '/');
    if (strlen(text) > LABEL_KEY_MAX || !text[0])
        return false;
    kp_auto_free char *prefix = slash ? kp_strndup(text, (size_t)(slash - text)) : NULL;
    const char *name = slash ? slash + 1 : text;
    return name[0] && kp_rule_label_value(name) && (!prefix || kp_text_dns_name(prefix, 253));
}

bool kp_rule_arg(const char *text)
{
    return text[0] >= 'a' && text[0] <= 'z' && strlen(text) <= 64 &&
           only(text, "abcdefghijklmnopqrstuvwxyz" DIGITS "-");
}

bool kp_rule_arg_value(const char *text)
{
    return kp_text_plain(text, ARG_VALUE_MAX) && !strpbrk(text, "\"'\\");
}

bool kp_rule_gate(const char *text)
{
    return text[0] >= 'A' && text[0] <= 'Z' && strlen(text) <= 64 && only(text, LETTERS DIGITS);
}

bool kp_rule_bool(const char *text)
{
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
}

bool kp_rule_mount(const char *text)
{
    return kp_rule_folder(text) && strlen(text) <= 253 && only(text, LETTERS DIGITS "/._-");
}

bool kp_rule_annotation(const char *text)
{
    return kp_text_plain(text, ANNOTATION_MAX);
}

bool kp_rule_sysctl(const char *text)
{
    return text[0] && strlen(text) <= SYSCTL_MAX && strchr(text, '.') && text[0] != '.' &&
           !strstr(text, "..") && only(text, LETTERS DIGITS "_-.");
}

bool kp_rule_sysctl_value(const char *text)
{
    return text[0] && strlen(text) <= SYSCTL_MAX && only(text, LETTERS DIGITS "_-. ,:/");
}
