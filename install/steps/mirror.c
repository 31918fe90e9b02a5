/* SPDX-License-Identifier: Apache-2.0 */
/* Phase mirror: the bundle on the mirror nodes, kregistry serving it over the site's own TLS. */
#include "install/steps/common.h"
#include "install/steps/firewall.h"

#include "core/file.h"
#include "core/text.h"
#include "install/inventory/network.h"
#include "install/node/catch_up_unit.h"
#include "install/pki/pki.h"
#include "install/steps/renew.h"

#include <stdlib.h>
#include <time.h>

#define CA_NAME "mirror-ca"
#define CA_TO_COME "(the CA of the site's mirrors, which apply makes)\n"
#define LEAF_NAME "mirror"
#define TLS_CERT "/etc/kpack/mirror/tls.pem"
#define TLS_KEY "/etc/kpack/mirror/tls.key"
#define UNIT "kregistry.service"
#define UNITS "/etc/systemd/system/"
#define UNIT_FILE UNITS UNIT
#define OTHERS_MAX ((size_t)64 << 10)
#define REACH_S 20.0
#define PAUSE_NS 200000000L

/* The one that the admin host sends the bundle to: beside the hand, where that is another than the
 * inventory's first (it may be made anew just now). */
static const struct kp_site_node *first_mirror(const struct kp_site *site)
{
    for (size_t i = 0; i < site->node_count; i++)
        if (site->nodes[i].node->mirror)
            return &site->nodes[i];
    return NULL;
}

static bool is_first_mirror(const struct kp_site *site, const struct kp_site_node *node)
{
    return first_mirror(site) == node;
}

static char *url_of(const struct kp_site *site, const struct kp_site_node *node)
{
    kp_auto_free char *host = kp_network_url_host(node->node->address);
    return kp_asprintf("https://%s:%u", host, site->inventory->mirror.port);
}

static size_t mirror_names(const struct kp_site *site, const char **out)
{
    size_t n = 0;
    for (size_t i = 0; i < site->node_count; i++) {
        if (!site->nodes[i].node->mirror)
            continue;
        out[n++] = site->nodes[i].node->address;
        out[n++] = site->nodes[i].node->name;
    }
    return n;
}

static int load_or_make_ca(struct kp_site *site, struct kp_pki_pair *ca, struct kp_err *err)
{
    bool found;
    if (kp_pki_load(ca, site->state_folder, CA_NAME, &found, err) < 0 || found)
        return found ? 0 : -1;
    kp_auto_free char *name = kp_asprintf("kpack mirrors of %s", site->inventory->cluster);
    if (kp_pki_make_ca(ca, name, err) < 0)
        return -1;
    kp_step_changed(site, NULL, "make the CA of the site's mirrors (mirror-ca.pem)", NULL);
    return site->dry_run ? 0 : kp_pki_store(ca, site->state_folder, CA_NAME, err);
}

static int issue_leaf(struct kp_site *site, const struct kp_pki_pair *ca, struct kp_err *err)
{
    kp_auto_free const char **names = kp_alloc_array(2 * site->node_count + 1, sizeof(*names));
    size_t n = mirror_names(site, names);
    kp_auto_value(kp_pki_pair) leaf = {0}, fresh = {0};
    struct kp_err ignored; // half a pair is made anew
    bool found = false, covers = false;
    if (kp_pki_load(&leaf, site->state_folder, LEAF_NAME, &found, &ignored) < 0)
        found = false;
    if (found && kp_pki_covers(&covers, &leaf, ca->certificate, names, n, err) < 0)
        return -1;
    if (covers && !kp_renew_due(site, kp_slice_of(leaf.certificate)))
        return 0;
    kp_step_changed(site, NULL, "issue the mirrors' certificate (mirror.pem)", NULL);
    if (site->dry_run)
        return 0;
    if (kp_pki_issue(&fresh, ca, "kpack mirror", names, n, err) < 0)
        return -1;
    return kp_pki_store(&fresh, site->state_folder, LEAF_NAME, err);
}

int kp_mirror_make_pki(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    (void)node;
    bool kept = false;
    struct kp_err ignored;
    if (site->dry_run && kp_pki_load(&ca, site->state_folder, CA_NAME, &kept, &ignored) < 0)
        kept = false;
    kp_pki_pair_release(&ca);
    if (load_or_make_ca(site, &ca, err) < 0 || issue_leaf(site, &ca, err) < 0)
        return -1;
    kp_free(site->mirror_ca);
    // A plan must not show a CA that is thrown away again.
    site->mirror_ca = kp_strdup(site->dry_run && !kept ? CA_TO_COME : ca.certificate);
    return 0;
}

static char *path_of(const struct kp_site *site, const struct kp_digest *id)
{
    return kp_asprintf("%s/%s.tar.zst", site->inventory->mirror.folder, kp_digest_hex(id).hex);
}

struct sending {
    struct kp_site *site;
    const struct kp_site_node *node;
    double start;
};

static void show_sending(void *user, uint64_t done, uint64_t total)
{
    const struct sending *sending = user;
    double seconds = kp_now() - sending->start;
    kp_step_note(sending->site, sending->node, "bundle %s of %s, %s", kp_text_bytes(done).s,
                 kp_text_bytes(total).s, kp_text_rate(seconds > 0 ? (double)done / seconds : 0).s);
}

/* The file's name is the bundle's id, and knode renames only what it has verified. */
static int place_parcel(struct kp_site *site, struct kp_site_node *node,
                        const struct kp_parcel *parcel, const struct kp_mirrors *from,
                        bool *changed, struct kp_err *err)
{
    kp_auto_free char *path = path_of(site, &parcel->id);
    struct sending sending = {site, node, kp_now()};
    kp_auto_value(kp_change) change = {0};
    bool there = false;
    if (site->dry_run) {
        if (kp_have_file(node, path, &there, err) < 0)
            return -1;
        change.changed = !there;
    } else if (kp_session_send_parcel(node->session, parcel, path, from, 0, show_sending, &sending,
                                      &change, err) < 0) {
        return kp_wrap(err, "bundle to %s", path);
    }
    kp_auto_free char *what =
        kp_asprintf("%s %s", from ? "copy the bundle to" : "send the bundle to", path);
    kp_step_changed(site, node, what, &change);
    *changed = *changed || change.changed;
    return 0;
}

/* The first mirror gets a base from this host, or from the mirror that has it; the others copy it
 * as they copy the bundle. One that is there is left as it is. */
static int place_base(struct kp_site *site, struct kp_site_node *node, size_t i,
                      const struct kp_mirrors *from, bool *changed, struct kp_err *err)
{
    const struct kp_site_base *base = &site->bases[i];
    const struct kp_parcel parcel = {base->file, site->manifest->bases[i].id, base->size};
    const char *urls[] = {NULL, NULL};
    struct kp_mirrors holder = {urls, kp_slice_of(site->mirror_ca)};
    if (from || base->file || base->holder == node)
        return place_parcel(site, node, &parcel, from, changed, err);
    kp_auto_free char *url = url_of(site, base->holder);
    urls[0] = url;
    return place_parcel(site, node, &parcel, &holder, changed, err);
}

static int place_bundles(struct kp_site *site, struct kp_site_node *node,
                         const struct kp_mirrors *from, bool *changed, struct kp_err *err)
{
    const struct kp_parcel bundle = {site->bundle, site->manifest->id,
                                     kp_bundle_size(site->bundle)};
    for (size_t i = 0; i < site->manifest->base_count; i++)
        if (place_base(site, node, i, from, changed, err) < 0)
            return -1;
    return place_parcel(site, node, &bundle, from, changed, err);
}

static void add_served(struct kp_buf *out, const struct kp_site *site, const struct kp_digest *id)
{
    kp_auto_free char *path = path_of(site, id);
    kp_buf_addf(out, "%s--bundle %s --id %s", out->len ? " " : "", path, kp_digest_hex(id).hex);
}

static bool is_current(const struct kp_manifest *m, const struct kp_digest *id)
{
    bool found = kp_digest_equal(&m->id, id);
    for (size_t i = 0; i < m->base_count; i++)
        found = found || kp_digest_equal(&m->bases[i].id, id);
    return found;
}

/* "--bundle PATH --id HEX … --accepted SECONDS": the accepted bundle first, then its bases, then
 * the one before it. */
static char *serve_options(const struct kp_site *site, bool previous)
{
    kp_auto_value(kp_buf) out = KP_BUF((KP_BASES_MAX + 1 + KP_PREVIOUS_MAX) * (KP_PATH_MAX + 128));
    const struct kp_manifest *m = site->manifest;
    for (size_t i = 0; i <= m->base_count; i++)
        add_served(&out, site, i ? &m->bases[i - 1].id : &m->id);
    for (size_t i = 0; previous && i < site->previous.count; i++)
        if (!is_current(m, &site->previous.ids[i]))
            add_served(&out, site, &site->previous.ids[i]);
    kp_buf_addf(&out, " --accepted %llu", (unsigned long long)site->accepted);
    return kp_buf_steal(&out);
}

/* The time at which the site accepted this bundle, in its mirrors' own words: the same with each
 * run that changes nothing. */
static int find_accepted(struct kp_site *site, struct kp_site_node *none, struct kp_err *err)
{
    (void)none;
    site->accepted = 0;
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        kp_auto_value(kp_buf) text = KP_BUF(KP_CATCH_UP_UNIT_MAX);
        struct kp_served_list served;
        struct kp_err ignored;
        bool found;
        if (!node->node->mirror || node->failed)
            continue;
        if (kp_session_get(node->session, UNIT_FILE, &text, &found, err) < 0)
            return kp_wrap(err, "%s: read " UNIT_FILE, node->node->name);
        if (found &&
            kp_catch_up_read_unit(&served, kp_buf_slice(&text), site->inventory->mirror.folder,
                                  &ignored) == 0 &&
            kp_digest_equal(&served.items[0].id, &site->manifest->id) &&
            served.accepted > site->accepted)
            site->accepted = served.accepted;
    }
    if (!site->accepted)
        site->accepted = (uint64_t)time(NULL);
    return 0;
}

/* Whether this mirror has all of what was applied before: a new mirror has not, and need not. */
static int have_previous(struct kp_site *site, struct kp_site_node *node, bool *there,
                         struct kp_err *err)
{
    *there = true;
    for (size_t i = 0; i < site->previous.count && *there; i++) {
        kp_auto_free char *path = path_of(site, &site->previous.ids[i]);
        if (kp_have_file(node, path, there, err) < 0)
            return -1;
    }
    return 0;
}

static int place_tls(struct kp_site *site, struct kp_site_node *node, bool *changed,
                     struct kp_err *err)
{
    kp_auto_value(kp_pki_pair) leaf = {0};
    bool found;
    if (kp_pki_load(&leaf, site->state_folder, LEAF_NAME, &found, err) < 0)
        return -1;
    if (!found) { // only in a dry run, where none was made
        kp_step_changed(site, node, "write " TLS_CERT, NULL);
        return 0;
    }
    if (kp_place_secret(site, node, TLS_KEY, leaf.key, changed, err) < 0)
        return -1;
    return kp_place(site, node, TLS_CERT, kp_slice_of(leaf.certificate), 0644, changed, err);
}

static int place_unit(struct kp_site *site, struct kp_site_node *node, bool *changed,
                      struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    bool previous;
    if (have_previous(site, node, &previous, err) < 0)
        return -1;
    kp_auto_free char *bundles = serve_options(site, previous);
    kp_auto_free char *host = kp_network_url_host(node->node->address);
    const struct kp_file *program = kp_manifest_file(site->manifest, "kregistry", node->arch);
    kp_vars_set(vars, "program", program->target); // it was placed, so it is there
    kp_vars_set(vars, "bundles", bundles);
    kp_vars_setf(vars, "listen", "%s:%u", host, site->inventory->mirror.port);
    return kp_place_template(site, node, UNIT_FILE, "kregistry.service", vars, changed, err);
}

static int drop_catch_up(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const units[] = {KP_CATCH_UP_TIMER, KP_CATCH_UP_SERVICE};
    for (size_t i = 0; i < KP_COUNT(units); i++) {
        kp_auto_free char *path = kp_asprintf(UNITS "%s", units[i]);
        bool there;
        if (kp_have_file(node, path, &there, err) < 0)
            return -1;
        if (there && (kp_place_unit(site, node, units[i], KP_UNIT_STOP_DISABLE, NULL, err) < 0 ||
                      kp_place_removed(site, node, path, NULL, err) < 0))
            return -1;
    }
    return 0;
}

static int compare_urls(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* " --mirror URL" for each other one; sorted, because the order of nodes is who is the hand's. */
static void list_others(struct kp_buf *out, const struct kp_site *site,
                        const struct kp_site_node *node)
{
    kp_auto_free char **urls = kp_alloc_array(site->node_count + 1, sizeof(*urls));
    size_t n = 0;
    for (size_t i = 0; i < site->node_count; i++)
        if (site->nodes[i].node->mirror && &site->nodes[i] != node)
            urls[n++] = url_of(site, &site->nodes[i]);
    qsort(urls, n, sizeof(*urls), compare_urls);
    kp_buf_adds(out, "");
    for (size_t i = 0; i < n; i++) {
        kp_buf_addf(out, " --mirror %s", urls[i]);
        kp_free(urls[i]);
    }
}

/* What came while this mirror was away it fetches by itself from the others. */
static int place_catch_up(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *hand = kp_hand_path(site, node), *own = url_of(site, node);
    kp_auto_value(kp_buf) others = KP_BUF(OTHERS_MAX);
    kp_auto(kp_vars) vars = kp_vars_new();
    bool changed = false;
    list_others(&others, site, node);
    if (!others.len || !hand)
        return drop_catch_up(site, node, err);
    kp_vars_set(vars, "program", hand);
    kp_vars_set(vars, "own", own);
    kp_vars_set(vars, "folder", site->inventory->mirror.folder);
    kp_vars_set(vars, "ca", KP_CA_FILE);
    kp_vars_set(vars, "mirrors", kp_buf_slice(&others).ptr);
    if (kp_place_template(site, node, UNITS KP_CATCH_UP_SERVICE, KP_CATCH_UP_SERVICE, vars,
                          &changed, err) < 0 ||
        kp_place_template(site, node, UNITS KP_CATCH_UP_TIMER, KP_CATCH_UP_TIMER, vars, &changed,
                          err) < 0)
        return -1;
    return kp_place_service(site, node, KP_CATCH_UP_TIMER, changed, err);
}

static int serve(struct kp_site *site, struct kp_site_node *node, const struct kp_mirrors *from,
                 struct kp_err *err)
{
    bool changed = false, fresh = false;
    // The program goes over the connection: there is no mirror yet that could serve it.
    if (kp_place_file(site, node, "kregistry", true, &changed, err) < 0 ||
        place_tls(site, node, &changed, err) < 0 ||
        place_bundles(site, node, from, &fresh, err) < 0 ||
        place_unit(site, node, &changed, err) < 0)
        return -1;
    if (kp_place_service(site, node, UNIT, changed, err) < 0)
        return -1;
    return place_catch_up(site, node, err);
}

static int apply_first(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    return is_first_mirror(site, node) ? serve(site, node, NULL, err) : 0;
}

static int ask_mirror(struct kp_site *site, struct kp_site_node *node, const char *url, bool *ok,
                      struct kp_err *err)
{
    kp_auto_free char *v2 = kp_asprintf("%s/v2/", url);
    kp_auto_json question = json_pack("{s:s, s:s}", "https", v2, "ca", site->mirror_ca);
    kp_auto_json answer = NULL;
    if (kp_session_probe(node->session, question, &answer, err) < 0)
        return -1;
    *ok = json_is_true(json_object_get(answer, "ok"));
    const char *why = json_string_value(json_object_get(answer, "message"));
    if (!*ok)
        kp_fail_as(err, KP_FAILED, "mirror_unreachable", "the mirror %s cannot be reached: %s", url,
                   why ? why : "no answer");
    return 0;
}

/* A mirror has checked every byte before it answers. */
static int await_mirror(struct kp_site *site, struct kp_site_node *node, const char *url,
                        double start, struct kp_err *err)
{
    bool ok = false;
    while (!ok) {
        if (ask_mirror(site, node, url, &ok, err) < 0)
            return -1;
        if (!ok && kp_now() - start > REACH_S)
            return kp_hint(err,
                           "is port %u open between the nodes? on the mirror: "
                           "journalctl -u kregistry",
                           site->inventory->mirror.port);
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        if (!ok)
            nanosleep(&pause, NULL);
    }
    return 0;
}

int kp_mirror_renew(struct kp_site *site, struct kp_site_node *node, bool again, struct kp_err *err)
{
    kp_auto_free char *url = url_of(site, node);
    bool changed = again;
    if (place_tls(site, node, &changed, err) < 0)
        return -1;
    if (!changed)
        return 0;
    if (kp_place_unit(site, node, UNIT, KP_UNIT_RESTART, NULL, err) < 0)
        return -1;
    return site->dry_run ? 0 : await_mirror(site, node, url, kp_now(), err);
}

static int apply_others(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (is_first_mirror(site, node))
        return 0;
    kp_auto_free char *url = url_of(site, first_mirror(site));
    const char *urls[] = {url, NULL};
    struct kp_mirrors first = {urls, kp_slice_of(site->mirror_ca)};
    if (!site->dry_run && await_mirror(site, node, urls[0], kp_now(), err) < 0)
        return -1;
    return serve(site, node, &first, err);
}

/* A mirror whose own line has stopped is named by that, and catches up by itself (catch_up.h), or
 * with the next run: the others go on by those that are there. */
static int apply_reach(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    double start = kp_now();
    for (size_t i = 0; !site->dry_run && i < site->node_count; i++) {
        const struct kp_site_node *mirror = &site->nodes[i];
        if (!mirror->node->mirror || mirror->failed)
            continue;
        kp_auto_free char *url = url_of(site, mirror);
        if (await_mirror(site, node, url, start, err) < 0)
            return -1;
    }
    return 0;
}

static int check_taken(struct kp_site *site, struct kp_site_node *node, bool *done,
                       struct kp_err *err)
{
    bool begun;
    return kp_recorded(site, node, "taken", &begun, done, err);
}

/* The record alone is what is wanted: from here on a run that was cut off knows this node's files
 * and services for its own. */
static int apply_taken(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    (void)err;
    kp_step_changed(site, node, "note the cluster in /var/lib/kpack/cluster", &change);
    return 0;
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    size_t n = 0;
    while (site->mirror_urls[n])
        n++;
    snprintf(out, size, "%s on %zu node%s; serving on %s",
             kp_text_bytes(kp_bundle_size(site->bundle)).s, n, n == 1 ? "" : "s",
             site->mirror_urls[0]);
    return 0;
}

const struct kp_step kp_steps_mirror[] = {
    {.name = "firewall", .phase = "mirror", .nodes = KP_STEP_EVERY, .apply = kp_firewall_apply},
    {.name = "mirror-pki",
     .phase = "mirror",
     .nodes = KP_STEP_ADMIN,
     .apply = kp_mirror_make_pki,
     .describe = describe},
    {.name = "taken",
     .phase = "mirror",
     .nodes = KP_STEP_EVERY,
     .check = check_taken,
     .apply = apply_taken,
     .recorded = true},
    {.name = "mirror-accepted", .phase = "mirror", .nodes = KP_STEP_ADMIN, .apply = find_accepted},
    {.name = "mirror-first", .phase = "mirror", .nodes = KP_STEP_MIRRORS, .apply = apply_first},
    {.name = "mirror-others", .phase = "mirror", .nodes = KP_STEP_MIRRORS, .apply = apply_others},
    {.name = "mirror-reach", .phase = "mirror", .nodes = KP_STEP_EVERY, .apply = apply_reach},
    {.name = NULL},
};
