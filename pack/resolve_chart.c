/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/resolve_chart.h"

#include "core/file.h"

#define LABEL_MAX 53 /* of a release's name in Helm */

struct resolving {
    struct kp_plan *plan;
    const struct kp_request *request;
    struct kp_arena *arena;
    struct kp_err *err;
};

static size_t list_count(const struct kp_text_list *list)
{
    return list ? list->count : 0;
}

/* "monitoring/prometheus=prom-1.2.tgz": where and as what; by default as the file is called, in
 * default. */
struct chart_name {
    const char *namespace_, *name, *source;
};

/* What Helm takes as a release's name, and Kubernetes as a namespace. */
static bool is_label(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= LABEL_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && text[0] != '-' &&
           text[len - 1] != '-';
}

static int parse_chart(struct resolving *r, const char *text, struct chart_name *out)
{
    const char *equals = strchr(text, '='), *slash = strchr(text, '/');
    *out = (struct chart_name){"default", NULL, text};
    if (equals && slash && slash < equals) {
        out->namespace_ = kp_arena_strndup(r->arena, text, (size_t)(slash - text));
        out->name = kp_arena_strndup(r->arena, slash + 1, (size_t)(equals - slash - 1));
        out->source = equals + 1;
    }
    if (!kp_ends_with(out->source, ".tgz"))
        return kp_fail(r->err, KP_USAGE, "--chart %s: a packaged chart is needed, NAME-VERSION.tgz",
                       text);
    if (!out->name) { // prometheus-25.1.0.tgz
        const char *base = kp_path_base(out->source), *end = strrchr(base, '.');
        for (const char *p = base; *p; p++)
            if (*p == '-' && p[1] >= '0' && p[1] <= '9' && p < end) {
                end = p;
                break;
            }
        out->name = kp_arena_strndup(r->arena, base, (size_t)(end - base));
    }
    if (!is_label(out->namespace_) || !is_label(out->name))
        return kp_fail(r->err, KP_USAGE,
                       "--chart %s: '%s' or '%s' is no name; write NAMESPACE/NAME=FILE", text,
                       out->namespace_, out->name);
    return 0;
}

static int add_user_chart(struct resolving *r, const char *text)
{
    struct chart_name named;
    struct kp_plan_made *made = kp_arena_alloc(r->arena, sizeof(*made));
    if (parse_chart(r, text, &named) < 0)
        return -1;
    for (size_t i = 0; i < r->plan->manifest_count; i++)
        if (strcmp(r->plan->manifests[i].name, named.name) == 0)
            return kp_fail(r->err, KP_USAGE,
                           "--chart %s: there is a '%s' already; write NAMESPACE/NAME=FILE", text,
                           named.name);
    struct kp_plan_manifest *to = kp_plan_add_manifest(r->plan);
    to->name = named.name;
    to->addon = named.name;
    to->why = "--chart";
    if (kp_plan_set_source(r->plan, to, "--chart", named.source, r->err) < 0)
        return -1;
    made->known = to->known;
    made->digest = to->digest;
    made->size = to->size;
    made->namespace_ = named.namespace_;
    made->values = kp_arena_array(r->arena, 1, sizeof(*made->values));
    to->made = made;
    to->take_images = true;
    to->known = false;
    return 0;
}

/* The chart that NAME=FILE means; without a name the one of --chart, or the only one. */
static struct kp_plan_manifest *chart_of(struct resolving *r, struct kp_slice name)
{
    struct kp_plan_manifest *only = NULL;
    size_t count = 0;
    size_t given = list_count(r->request->charts);
    for (size_t i = 0; i < r->plan->manifest_count; i++) {
        struct kp_plan_manifest *manifest = &r->plan->manifests[i];
        if (!manifest->made || !manifest->made->namespace_)
            continue;
        if (name.len && kp_slice_equal(name, manifest->name))
            return manifest;
        if (given && strcmp(manifest->why, "--chart") != 0)
            continue;
        only = manifest;
        count++;
    }
    return !name.len && count == 1 ? only : NULL;
}

static int add_values(struct resolving *r, const char *text)
{
    const char *equals = strchr(text, '='), *slash = strchr(text, '/');
    bool named = equals && (!slash || equals < slash);
    struct kp_slice name = {text, named ? (size_t)(equals - text) : 0};
    const char *path = named ? equals + 1 : text;
    struct kp_plan_manifest *chart = chart_of(r, name);
    kp_auto_free char *values = NULL;
    size_t len, n = 0;
    if (!chart)
        return kp_fail(r->err, KP_USAGE, "--values %s: for which chart? Write CHART=FILE", text);
    if (kp_file_read(path, KP_VALUES_MAX, &values, &len, r->err) < 0)
        return kp_wrap(r->err, "--values");
    kp_auto_json text_only = json_stringn(values, len);
    if (!text_only || memchr(values, '\0', len))
        return kp_fail(r->err, KP_USAGE, "--values %s: no text in UTF-8", path);
    while (chart->made->values[n])
        n++;
    const char **all = kp_arena_array(r->arena, n + 2, sizeof(*all));
    memcpy(all, chart->made->values, n * sizeof(*all));
    all[n] = kp_arena_strndup(r->arena, values, len);
    chart->made->values = all;
    return 0;
}

/* Helm renders charts here, so it is of this machine's architecture, whatever the nodes have. */
static int add_helm(struct resolving *r, const struct kp_release_file *helm)
{
    bool charts = false;
    for (size_t i = 0; i < r->plan->manifest_count; i++)
        charts |= r->plan->manifests[i].made && r->plan->manifests[i].made->namespace_;
    if (!charts)
        return 0;
    if (!helm)
        return kp_fail_as(r->err, KP_USAGE, "no_helm",
                          "%s names no helm, so no chart can be rendered",
                          r->request->releases->path);
    r->plan->helm = kp_arena_array(r->arena, helm->sum_count, sizeof(*r->plan->helm));
    for (size_t i = 0; i < helm->sum_count; i++) {
        struct kp_plan_file *to = &r->plan->helm[r->plan->helm_count++];
        *to = (struct kp_plan_file){.component = helm->name, .version = helm->version};
        to->arch = helm->sums[i].arch;
        to->url = kp_release_expand(r->arena, helm->url, helm->version, to->arch);
        to->license = helm->license;
        to->roles = KP_ROLE_CONTROL_PLANE; // none gets it; a list of roles is not empty
        to->known = true;
        to->digest = helm->sums[i].sha256;
        to->checked = KP_CHECKED_PINNED;
        to->install_count = 1;
        to->installs = kp_arena_alloc(r->arena, sizeof(*to->installs));
        to->installs->member =
            kp_release_expand(r->arena, helm->installs->member, helm->version, to->arch);
        to->installs->name = to->installs->target = helm->name;
        to->installs->mode = 0755;
    }
    return 0;
}

int kp_resolve_charts(struct kp_plan *plan, const struct kp_request *request,
                      const struct kp_release_file *helm, struct kp_err *err)
{
    struct resolving r = {plan, request, plan->arena, err};
    for (size_t i = 0; i < list_count(request->charts); i++)
        if (add_user_chart(&r, request->charts->items[i]) < 0)
            return -1;
    for (size_t i = 0; i < list_count(request->values); i++)
        if (add_values(&r, request->values->items[i]) < 0)
            return -1;
    return add_helm(&r, helm);
}
