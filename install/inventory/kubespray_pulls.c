/* SPDX-License-Identifier: Apache-2.0 */
/* Registries of the site and the proxy. A password is never read: it is asked for. */
#include "install/inventory/kubespray_convert.h"

static const char *member(struct kp_converter *c, const struct kp_yaml *map, const char *name)
{
    const struct kp_yaml *value = kp_yaml_get(map, name);
    const char *text = value ? kp_convert_text_at(c, value) : NULL;
    return text && *text ? text : NULL;
}

/* The entry of that host, made where it is not there. */
static json_t *entry_of(json_t *registries, const char *host)
{
    json_t *entry;
    size_t i;
    json_array_foreach(registries, i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "host")), host) == 0)
            return entry;
    }
    entry = json_pack("{s:s}", "host", host);
    json_array_append_new(registries, entry);
    return entry;
}

static void add_url(struct kp_converter *c, json_t *entry, const char *url,
                    const struct kp_yaml *at)
{
    if (!kp_starts_with(url, "https://")) {
        kp_convert_note(c, at, "a registry is asked by https:// only");
        return;
    }
    if (!json_object_get(entry, "urls"))
        json_object_set_new(entry, "urls", json_array());
    kp_auto_free char *cut = kp_strdup(url);
    for (size_t len = strlen(cut); len && cut[len - 1] == '/'; len--)
        cut[len - 1] = '\0';
    json_array_append_new(json_object_get(entry, "urls"), json_string(cut));
}

static void note_unchecked(struct kp_converter *c, const struct kp_yaml *map, const char *name)
{
    const char *text = member(c, map, name);
    if (text && strcasecmp(text, "true") == 0)
        kp_convert_note(c, map,
                        "the certificate of a registry is always checked: its CA is "
                        "registries[].ca");
}

/* containerd_registries_mirrors: {prefix, mirrors: [{host, capabilities, skip_verify}]} */
static void add_mirrors(struct kp_converter *c, json_t *registries)
{
    const struct kp_yaml *list =
        kp_convert_find(c, c->control_plane, "containerd_registries_mirrors");
    for (size_t i = 0; list && list->type == KP_YAML_LIST && i < list->count; i++) {
        const char *prefix = member(c, list->items[i], "prefix");
        const struct kp_yaml *mirrors = kp_yaml_get(list->items[i], "mirrors");
        if (!prefix || !mirrors || mirrors->type != KP_YAML_LIST) {
            kp_convert_complain(c, list->items[i], "prefix and mirrors are needed");
            return;
        }
        json_t *entry = entry_of(registries, prefix);
        for (size_t j = 0; j < mirrors->count; j++) {
            const char *url = member(c, mirrors->items[j], "host");
            note_unchecked(c, mirrors->items[j], "skip_verify");
            if (url)
                add_url(c, entry, url, mirrors->items[j]);
        }
    }
}

static void add_location(struct kp_converter *c, json_t *entry, const struct kp_yaml *map)
{
    const char *location = member(c, map, "location");
    kp_auto_free char *url = location ? kp_asprintf("https://%s", location) : NULL;
    note_unchecked(c, map, "insecure");
    if (url)
        add_url(c, entry, url, map);
}

/* crio_registries: {prefix, location, insecure, mirrors: [{location, insecure}]} */
static void add_crio(struct kp_converter *c, json_t *registries)
{
    const struct kp_yaml *list = kp_convert_find(c, c->control_plane, "crio_registries");
    for (size_t i = 0; list && list->type == KP_YAML_LIST && i < list->count; i++) {
        const struct kp_yaml *mirrors = kp_yaml_get(list->items[i], "mirrors");
        const char *prefix = member(c, list->items[i], "prefix");
        if (!prefix)
            prefix = member(c, list->items[i], "location");
        if (!prefix) {
            kp_convert_complain(c, list->items[i], "prefix or location is needed");
            return;
        }
        json_t *entry = entry_of(registries, prefix);
        for (size_t j = 0; mirrors && mirrors->type == KP_YAML_LIST && j < mirrors->count; j++)
            add_location(c, entry, mirrors->items[j]);
        add_location(c, entry, list->items[i]);
    }
}

static void add_users(struct kp_converter *c, json_t *registries, const char *variable)
{
    const struct kp_yaml *list = kp_convert_find(c, c->control_plane, variable);
    for (size_t i = 0; list && list->type == KP_YAML_LIST && i < list->count; i++) {
        const char *host = member(c, list->items[i], "registry");
        const char *user = member(c, list->items[i], "username");
        if (!host || !user) {
            kp_convert_complain(c, list->items[i], "registry and username are needed");
            return;
        }
        json_object_set_new(entry_of(registries, host), "username", json_string(user));
    }
}

static const struct kp_yaml *proxy_at(struct kp_converter *c, const char *name, const char **text)
{
    const struct kp_yaml *value = kp_convert_find(c, c->control_plane, name);
    *text = value ? kp_convert_text_at(c, value) : NULL;
    if (*text && strchr(*text, '@'))
        kp_convert_complain(c, value, "a proxy with a user's name and password is not supported");
    return value;
}

static void add_exceptions(struct kp_converter *c, json_t *out, const char *name)
{
    const struct kp_yaml *value = kp_convert_find(c, c->control_plane, name);
    json_t *word;
    size_t i;
    if (kp_convert_empty(value))
        return;
    kp_auto_json words = kp_convert_words(c, value);
    json_array_foreach(words, i, word) json_array_append(out, word);
}

static void write_proxy(struct kp_converter *c)
{
    kp_auto_json out = json_object();
    kp_auto_json exceptions = json_array();
    const char *http, *https;
    proxy_at(c, "http_proxy", &http);
    proxy_at(c, "https_proxy", &https);
    if ((!http || !*http) && (!https || !*https))
        return;
    if (http && *http)
        json_object_set_new(out, "http", json_string(http));
    if (https && *https)
        json_object_set_new(out, "https", json_string(https));
    add_exceptions(c, exceptions, "no_proxy");
    add_exceptions(c, exceptions, "additional_no_proxy");
    if (json_array_size(exceptions))
        json_object_set(out, "no_proxy", exceptions);
    kp_convert_members(c, "", "proxy", out);
}

void kp_convert_pulls(struct kp_converter *c)
{
    kp_auto_json registries = json_array();
    add_mirrors(c, registries);
    add_crio(c, registries);
    add_users(c, registries, "containerd_registry_auth");
    add_users(c, registries, "crio_registry_auth");
    kp_convert_write(c, "", "registries", registries);
    write_proxy(c);
}
