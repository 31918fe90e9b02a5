/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/site_ca.h"

#include "core/file.h"
#include "install/steps/settings.h"

#include <sys/stat.h>

#define CA_CERTIFICATE "/etc/kubernetes/pki/ca.crt"
#define CA_KEY "/etc/kubernetes/pki/ca.key"

bool kp_site_ca_wanted(const struct kp_inventory *inventory)
{
    return inventory->pki.certificate || inventory->pki.requested;
}

static int read_text(char **out, const char *path, struct kp_err *err)
{
    size_t len;
    return kp_file_read(path, KP_PEM_MAX, out, &len, err);
}

/* A key that others may read is none. */
static int read_key(char **out, const char *path, struct kp_err *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
        kp_fail(err, KP_USAGE, "%s can be read by others", path);
        return kp_hint(err, "chmod 600 %s", path);
    }
    return read_text(out, path, err);
}

static int load_accepted(struct kp_pki_pair *out, const struct kp_inventory *inventory,
                         struct kp_err *err)
{
    kp_auto_free char *folder = kp_inventory_state_folder(inventory);
    kp_auto_free char *certificate = kp_asprintf("%s/" KP_SITE_CA_NAME ".pem", folder);
    kp_auto_free char *key = kp_asprintf("%s/" KP_SITE_CA_NAME ".key", folder);
    if (!kp_file_exists(certificate)) {
        kp_fail_as(err, KP_MISSING, "no_ca", "%s: pki.requested: no certificate was taken in yet",
                   inventory->path);
        return kp_hint(err, "kinstall certs request; have it signed; kinstall certs accept FILE");
    }
    if (read_text(&out->certificate, certificate, err) < 0 || read_key(&out->key, key, err) < 0)
        return -1;
    return kp_pki_check_chain(kp_slice_of(out->certificate), out->key, certificate, err);
}

int kp_site_ca_load(struct kp_pki_pair *out, bool *found, const struct kp_inventory *inventory,
                    struct kp_err *err)
{
    *found = kp_site_ca_wanted(inventory);
    if (!*found)
        return 0;
    if (inventory->pki.requested)
        return load_accepted(out, inventory, err);
    if (read_text(&out->certificate, inventory->pki.certificate, err) < 0 ||
        read_key(&out->key, inventory->pki.key, err) < 0)
        return -1;
    return kp_pki_check_chain(kp_slice_of(out->certificate), out->key, inventory->pki.certificate,
                              err);
}

int kp_site_ca_check(const struct kp_site *site, struct kp_err *err)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    bool found;
    return kp_site_ca_load(&ca, &found, site->inventory, err);
}

/* Another CA beneath a running cluster is another cluster. */
static int check_same(struct kp_site_node *node, const char *wanted, struct kp_err *err)
{
    kp_auto_value(kp_buf) pem = KP_BUF(KP_PEM_MAX);
    bool found;
    if (kp_session_get(node->session, CA_CERTIFICATE, &pem, &found, err) < 0)
        return kp_wrap(err, "read " CA_CERTIFICATE);
    kp_auto_free char *now = kp_pki_first(kp_buf_slice(&pem));
    if (!found || (now && strcmp(now, wanted) == 0))
        return 0;
    kp_fail_as(err, KP_FAILED, "other_ca",
               "the cluster's CA is not the one that `pki` of the inventory names");
    return kp_hint(err, "a CA is not changed on a running cluster; take `pki` out again, or make "
                        "the cluster anew");
}

int kp_site_ca_place(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    bool found, joined;
    if (kp_site_ca_load(&ca, &found, site->inventory, err) < 0 ||
        kp_joined(site, node, &joined, err) < 0)
        return -1;
    if (!found)
        return 0;
    kp_auto_free char *first = kp_pki_first(kp_slice_of(ca.certificate));
    if (joined && check_same(node, first, err) < 0)
        return -1;
    if (kp_pki_count(kp_slice_of(ca.certificate)) < 2)
        return 0;
    return kp_place(site, node, KP_SITE_CA_CHAIN, kp_slice_of(ca.certificate), 0644, NULL, err);
}

int kp_site_ca_before_init(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    bool found;
    if (kp_site_ca_load(&ca, &found, site->inventory, err) < 0)
        return -1;
    if (!found)
        return 0;
    kp_auto_free char *first = kp_pki_first(kp_slice_of(ca.certificate));
    if (kp_place(site, node, CA_CERTIFICATE, kp_slice_of(first), 0644, NULL, err) < 0)
        return -1;
    return kp_place_secret(site, node, CA_KEY, ca.key, NULL, err);
}

void kp_site_ca_vars(struct kp_vars *vars, const struct kp_site *site)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    struct kp_err ignored = KP_ERR_INIT; // it was checked before any node was touched
    bool found;
    if (kp_site_ca_load(&ca, &found, site->inventory, &ignored) < 0 || !found ||
        kp_pki_count(kp_slice_of(ca.certificate)) < 2)
        return;
    kp_settings_arg(vars, site, "controller", "root-ca-file", KP_SITE_CA_CHAIN);
    kp_settings_mount(vars, "controller", "kpack-ca", KP_SITE_CA_FOLDER, true);
}

/* --- request and accept ----------------------------------------------------------------------- */

int kp_site_ca_request(char **csr, const struct kp_inventory *inventory, struct kp_err *err)
{
    kp_auto_free char *folder = kp_inventory_state_folder(inventory);
    kp_auto_free char *key = kp_asprintf("%s/" KP_SITE_CA_NAME ".key", folder);
    kp_auto_free char *request = kp_asprintf("%s/" KP_SITE_CA_NAME ".csr", folder);
    kp_auto_free char *name = kp_asprintf("kubernetes-ca of %s", inventory->cluster);
    kp_auto_value(kp_pki_request) made = {0};
    if (!inventory->pki.requested)
        return kp_fail(err, KP_USAGE,
                       "%s: `pki: {requested: true}` is missing: the cluster would "
                       "not use it",
                       inventory->path);
    if (kp_file_exists(key) && kp_file_exists(request)) // the same again
        return read_text(csr, request, err);
    if (kp_pki_request_ca(&made, name, err) < 0 || kp_mkdirs(folder, 0700, err) < 0 ||
        kp_file_write_atomic(key, kp_slice_of(made.key), 0600, err) < 0 ||
        kp_file_write_atomic(request, kp_slice_of(made.request), 0644, err) < 0)
        return -1;
    *csr = kp_strdup(made.request);
    return 0;
}

int kp_site_ca_accept(const struct kp_inventory *inventory, const char *path, struct kp_err *err)
{
    kp_auto_free char *folder = kp_inventory_state_folder(inventory);
    kp_auto_free char *key_path = kp_asprintf("%s/" KP_SITE_CA_NAME ".key", folder);
    kp_auto_free char *to = kp_asprintf("%s/" KP_SITE_CA_NAME ".pem", folder);
    kp_auto_value(kp_pki_pair) ca = {0};
    if (!kp_file_exists(key_path)) {
        kp_fail_as(err, KP_MISSING, "no_request", "%s: nothing was requested", folder);
        return kp_hint(err, "kinstall certs request comes first");
    }
    if (read_key(&ca.key, key_path, err) < 0 || read_text(&ca.certificate, path, err) < 0 ||
        kp_pki_check_chain(kp_slice_of(ca.certificate), ca.key, path, err) < 0)
        return -1;
    return kp_file_write_atomic(to, kp_slice_of(ca.certificate), 0644, err);
}
