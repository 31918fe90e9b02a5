/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/objects.h"

#include "manifests/walk.h"

#include <string.h>
#include <yaml.h>

#define HOOK "helm.sh/hook"

struct settling {
    struct kp_slice yaml;
    size_t character, byte; // how far the text was counted: libyaml's places are characters
    const char *name, *namespace_;
    struct kp_buf *out;
    struct kp_buf clustered; // " Kind1 Kind2 " of its own CRDs without namespaces
    bool has_namespace;
};

static const yaml_node_t *value_of(yaml_document_t *document, const yaml_node_t *map,
                                   const char *key)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *k = yaml_document_get_node(document, pair->key);
        if (k && k->type == YAML_SCALAR_NODE &&
            strcmp((const char *)k->data.scalar.value, key) == 0)
            return yaml_document_get_node(document, pair->value);
    }
    return NULL;
}

static const char *text_of(yaml_document_t *document, const yaml_node_t *map, const char *key)
{
    const yaml_node_t *node = value_of(document, map, key);
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : "";
}

static bool lists(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = words; len && (at = strstr(at, word)); at += len)
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
            return true;
    return false;
}

static bool is_clustered(const struct settling *s, const char *kind)
{
    static const char kinds[] =
        "Namespace Node PersistentVolume StorageClass CSIDriver CSINode VolumeAttachment "
        "ClusterRole "
        "ClusterRoleBinding CustomResourceDefinition APIService MutatingWebhookConfiguration "
        "ValidatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding PriorityClass RuntimeClass "
        "IngressClass GatewayClass CertificateSigningRequest ClusterTrustBundle FlowSchema "
        "PriorityLevelConfiguration VolumeSnapshotClass VolumeSnapshotContent DeviceClass "
        "ResourceSlice ServiceCIDR IPAddress ClusterIssuer List";
    return lists(kinds, kind) || (s->clustered.len && lists(s->clustered.data, kind));
}

/* An install runs none of these. */
static bool is_left_out(yaml_document_t *document, const yaml_node_t *metadata)
{
    static const char *const kept[] = {"pre-install", "post-install", "crd-install"};
    const char *hook = text_of(document, value_of(document, metadata, "annotations"), HOOK);
    for (size_t i = 0; i < KP_COUNT(kept); i++)
        if (strstr(hook, kept[i]))
            return false;
    return *hook != '\0';
}

/* The place in bytes; asked in rising order. */
static size_t byte_at(struct settling *s, size_t character)
{
    while (s->character < character && s->byte < s->yaml.len) {
        s->byte++;
        while (s->byte < s->yaml.len && ((unsigned char)s->yaml.ptr[s->byte] & 0xC0) == 0x80)
            s->byte++;
        s->character++;
    }
    return s->byte;
}

static void note_object(struct settling *s, yaml_document_t *document, const yaml_node_t *root)
{
    const yaml_node_t *spec = value_of(document, root, "spec");
    const char *kind = text_of(document, root, "kind");
    if (strcmp(kind, "CustomResourceDefinition") == 0 &&
        strcmp(text_of(document, spec, "scope"), "Cluster") == 0)
        kp_buf_addf(&s->clustered, "%s ",
                    text_of(document, value_of(document, spec, "names"), "kind"));
    s->has_namespace |=
        strcmp(kind, "Namespace") == 0 &&
        strcmp(text_of(document, value_of(document, root, "metadata"), "name"), s->namespace_) == 0;
}

static void copy(struct settling *s, size_t from, size_t to)
{
    kp_buf_add(s->out, s->yaml.ptr + from, to - from);
}

/* One document, from its "---" to the next. */
static void settle_object(struct settling *s, yaml_document_t *document, const yaml_node_t *root,
                          size_t from_character, size_t to_character)
{
    const yaml_node_t *metadata = value_of(document, root, "metadata");
    size_t from = byte_at(s, from_character);
    bool drop = !root || is_left_out(document, metadata);
    bool give = !drop && metadata && metadata->type == YAML_MAPPING_NODE &&
                !*text_of(document, metadata, "namespace") &&
                !is_clustered(s, text_of(document, root, "kind"));
    if (give) {
        bool flow = metadata->data.mapping.style == YAML_FLOW_MAPPING_STYLE;
        size_t at = byte_at(s, metadata->start_mark.index + flow);
        copy(s, from, at);
        kp_buf_addf(s->out, flow ? "namespace: %s, " : "namespace: %s\n%*s", s->namespace_,
                    (int)metadata->start_mark.column, "");
        from = at;
    }
    size_t to = byte_at(s, to_character);
    if (drop)
        return;
    copy(s, from, to);
    if (to > from && s->yaml.ptr[to - 1] != '\n')
        kp_buf_adds(s->out, "\n");
}

/* Two passes: CRDs and the namespace may stand behind what they are needed for. */
static int pass(struct settling *s, bool write, struct kp_err *err)
{
    yaml_parser_t parser;
    yaml_document_t document, next;
    if (!yaml_parser_initialize(&parser))
        return kp_fail(err, KP_FAILED, "%s: out of memory", s->name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(s->yaml.len ? s->yaml.ptr : ""),
                                 s->yaml.len);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    bool loaded = yaml_parser_load(&parser, &document);
    while (loaded) {
        const yaml_node_t *root = yaml_document_get_root_node(&document);
        if (!root) {
            yaml_document_delete(&document);
            break;
        }
        loaded = yaml_parser_load(&parser, &next);
        bool last = loaded && !yaml_document_get_root_node(&next);
        if (write && loaded)
            settle_object(s, &document, root, document.start_mark.index,
                          last ? s->yaml.len : next.start_mark.index);
        else if (!write)
            note_object(s, &document, root);
        yaml_document_delete(&document);
        document = next;
    }
    int result = loaded ? 0
                        : kp_fail_as(err, KP_USAGE, "bad_yaml", "%s:%zu:%zu: %s", s->name,
                                     parser.problem_mark.line + 1, parser.problem_mark.column + 1,
                                     parser.problem ? parser.problem : "cannot be read");
    yaml_parser_delete(&parser);
    return result;
}

static bool is_given(const char *namespace_)
{
    return lists("default kube-system kube-public kube-node-lease", namespace_);
}

int kp_objects_settle(struct kp_buf *out, struct kp_slice yaml, const char *name,
                      const char *namespace_, struct kp_err *err)
{
    struct settling s = {.yaml = yaml,
                         .name = name,
                         .namespace_ = namespace_,
                         .out = out,
                         .clustered = KP_BUF(KP_WALK_MAX)};
    int result = yaml.len > KP_WALK_MAX ? kp_fail_as(err, KP_USAGE, "too_large",
                                                     "%s: larger than %zu bytes", name, KP_WALK_MAX)
                                        : pass(&s, false, err);
    if (result == 0 && !s.has_namespace && !is_given(namespace_))
        kp_buf_addf(out, "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n",
                    namespace_);
    if (result == 0)
        result = pass(&s, true, err);
    kp_buf_release(&s.clustered);
    if (result == 0 && out->overflow)
        return kp_fail_as(err, KP_USAGE, "too_large", "%s: too large", name);
    return result;
}
