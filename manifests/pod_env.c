/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/pod_env.h"

#include "manifests/walk.h"

#include <stdlib.h>
#include <yaml.h>

#define HOST_KEY "KUBERNETES_SERVICE_HOST"
#define PORT_KEY "KUBERNETES_SERVICE_PORT"

struct insertion { /* text that goes in front of a character of the manifest */
    size_t at;     // in characters, as libyaml counts
    bool flow;     // between brackets
    bool item;     // into a list that is there, else a whole `env`
    bool last;     // of an empty list or map between brackets: no comma
    size_t indent; // of lines that follow, in block style
};

struct telling {
    yaml_document_t *document; // borrowed
    struct insertion *insertions;
    size_t count, cap;
};

static const yaml_node_t *value_of(const struct telling *t, const yaml_node_t *map, const char *key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *k = yaml_document_get_node(t->document, pair->key);
        if (k && k->type == YAML_SCALAR_NODE && k->data.scalar.length == strlen(key) &&
            memcmp(k->data.scalar.value, key, strlen(key)) == 0)
            return yaml_document_get_node(t->document, pair->value);
    }
    return NULL;
}

static bool is_text(const yaml_node_t *node, const char *text)
{
    return node && node->type == YAML_SCALAR_NODE && node->data.scalar.length == strlen(text) &&
           memcmp(node->data.scalar.value, text, strlen(text)) == 0;
}

static bool has_own(const struct telling *t, const yaml_node_t *env)
{
    for (yaml_node_item_t *item = env->data.sequence.items.start;
         item < env->data.sequence.items.top; item++)
        if (is_text(value_of(t, yaml_document_get_node(t->document, *item), "name"), HOST_KEY))
            return true;
    return false;
}

static void insert(struct telling *t, struct insertion one)
{
    // An anchored container that is used twice is written once.
    for (size_t i = 0; i < t->count; i++)
        if (t->insertions[i].at == one.at)
            return;
    if (t->count == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 16;
        t->insertions = kp_realloc_array(t->insertions, t->cap, sizeof(*t->insertions));
    }
    t->insertions[t->count++] = one;
}

static void tell_container(struct telling *t, const yaml_node_t *container)
{
    if (!container || container->type != YAML_MAPPING_NODE)
        return;
    const yaml_node_t *env = value_of(t, container, "env");
    const yaml_node_t *into = env && env->type == YAML_SEQUENCE_NODE ? env : container;
    struct insertion one = {.item = into == env, .indent = into->start_mark.column};
    if (env && !one.item) // null or not what Kubernetes takes: the API server says so
        return;
    if (one.item && has_own(t, env))
        return;
    one.flow = one.item ? env->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE
                        : container->data.mapping.style == YAML_FLOW_MAPPING_STYLE;
    one.last = one.item ? env->data.sequence.items.start == env->data.sequence.items.top
                        : container->data.mapping.pairs.start == container->data.mapping.pairs.top;
    one.at = into->start_mark.index + (one.flow ? 1 : 0);
    insert(t, one);
}

static void tell_list(struct telling *t, const yaml_node_t *list)
{
    if (!list || list->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *item = list->data.sequence.items.start;
         item < list->data.sequence.items.top; item++)
        tell_container(t, yaml_document_get_node(t->document, *item));
}

static void tell_object(struct telling *t, const yaml_node_t *object)
{
    const yaml_node_t *pod =
        value_of(t, value_of(t, value_of(t, object, "spec"), "template"), "spec");
    if (is_text(value_of(t, pod, "hostNetwork"), "true")) {
        tell_list(t, value_of(t, pod, "initContainers"));
        tell_list(t, value_of(t, pod, "containers"));
    }
    const yaml_node_t *items =
        is_text(value_of(t, object, "kind"), "List") ? value_of(t, object, "items") : NULL;
    if (!items || items->type != YAML_SEQUENCE_NODE)
        return;
    for (yaml_node_item_t *item = items->data.sequence.items.start;
         item < items->data.sequence.items.top; item++) {
        const yaml_node_t *inner = yaml_document_get_node(t->document, *item);
        if (!is_text(value_of(t, inner, "kind"), "List")) // an alias may close a circle
            tell_object(t, inner);
    }
}

static int read_documents(struct telling *t, yaml_parser_t *parser, const char *name,
                          struct kp_err *err)
{
    for (;;) {
        yaml_document_t document;
        if (!yaml_parser_load(parser, &document))
            return kp_fail_as(err, KP_USAGE, "bad_yaml", "%s:%zu:%zu: %s", name,
                              parser->problem_mark.line + 1, parser->problem_mark.column + 1,
                              parser->problem ? parser->problem : "cannot be read");
        const yaml_node_t *root = yaml_document_get_root_node(&document);
        t->document = &document;
        if (root)
            tell_object(t, root);
        t->document = NULL;
        yaml_document_delete(&document);
        if (!root)
            return 0;
    }
}

static int find_places(struct telling *t, struct kp_slice yaml, const char *name,
                       struct kp_err *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return kp_fail(err, KP_FAILED, "%s: out of memory", name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(yaml.len ? yaml.ptr : ""),
                                 yaml.len);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    int result = read_documents(t, &parser, name, err);
    yaml_parser_delete(&parser);
    return result;
}

static int by_place(const void *a, const void *b)
{
    const struct insertion *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void write_insertion(struct kp_buf *out, const struct insertion *one, const char *host,
                            unsigned port)
{
    static const char pair[] =
        "{name: " HOST_KEY ", value: \"%s\"}%s{name: " PORT_KEY ", value: \"%u\"}";
    if (one->item && !one->flow) {
        kp_buf_addf(out, "- {name: " HOST_KEY ", value: \"%s\"}\n%*s", host, (int)one->indent, "");
        kp_buf_addf(out, "- {name: " PORT_KEY ", value: \"%u\"}\n%*s", port, (int)one->indent, "");
        return;
    }
    if (!one->item)
        kp_buf_adds(out, "env: [");
    kp_buf_addf(out, pair, host, ", ", port);
    if (!one->item)
        kp_buf_adds(out, "]");
    if (one->flow)
        kp_buf_adds(out, one->last ? "" : ", ");
    else
        kp_buf_addf(out, "\n%*s", (int)one->indent, "");
}

/* An anchor or tag before it would come between: libyaml's mark is of the anchor. */
static int check_place(char byte, const char *name, struct kp_err *err)
{
    if (byte != '&' && byte != '!')
        return 0;
    return kp_fail_as(err, KP_USAGE, "bad_yaml",
                      "%s: a container of a network plugin must have no anchor or tag", name);
}

static bool starts_character(char byte)
{
    return ((unsigned char)byte & 0xC0) != 0x80;
}

int kp_pod_env_add(struct kp_buf *out, struct kp_slice yaml, const char *name, const char *host,
                   unsigned port, size_t *containers, struct kp_err *err)
{
    struct telling t = {0};
    if (yaml.len > KP_WALK_MAX)
        return kp_fail_as(err, KP_USAGE, "too_large", "%s: larger than %zu bytes", name,
                          KP_WALK_MAX);
    // libyaml does not count a byte order mark.
    if (yaml.len >= 3 && memcmp(yaml.ptr, "\xEF\xBB\xBF", 3) == 0)
        yaml = (struct kp_slice){yaml.ptr + 3, yaml.len - 3};
    int result = find_places(&t, yaml, name, err);
    if (result == 0 && t.count)
        qsort(t.insertions, t.count, sizeof(*t.insertions), by_place);
    size_t character = 0, next = 0, from = 0;
    for (size_t i = 0; result == 0 && next < t.count && i < yaml.len; i++) {
        if (!starts_character(yaml.ptr[i]))
            continue;
        if (t.insertions[next].at == character) {
            result = check_place(yaml.ptr[i], name, err);
            kp_buf_add(out, yaml.ptr + from, i - from);
            write_insertion(out, &t.insertions[next++], host, port);
            from = i;
        }
        character++;
    }
    kp_buf_add(out, yaml.ptr + from, yaml.len - from);
    if (containers)
        *containers = t.count;
    kp_free(t.insertions);
    if (result == 0 && out->overflow)
        return kp_fail_as(err, KP_USAGE, "too_large", "%s: too large", name);
    return result;
}
