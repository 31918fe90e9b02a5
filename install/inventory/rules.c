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
