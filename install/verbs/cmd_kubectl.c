/* SPDX-License-Identifier: Apache-2.0 */
/* kubectl for the admin, by a control plane that answers. */
#include "core/base64.h"
#include "core/file.h"
#include "core/zst.h"
#include "install/verbs/cmd.h"
#include "install/endpoint.h"
#include "install/site.h"
#include "net/net.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#define KUBECONFIG_MAX ((size_t)1 << 20)
#define BLOB_MAX ((size_t)256 << 20)
#define PROBE_S 1.5
#define ARGS_MAX 512

struct options {
    struct kp_site_options site;
};

static const struct kp_option option_table[] = {KP_SITE_OPTIONS(options), {.name = NULL}};

static int add_plain(void *user, const void *data, size_t len, struct kp_err *err)
{
    kp_buf_add(user, data, len);
    (void)err;
    return 0;
}

/* As the bundle names it. */
static char *own_arch(void)
{
    struct utsname system;
    if (uname(&system) < 0)
        return kp_strdup("");
    if (strcmp(system.machine, "x86_64") == 0)
        return kp_strdup("amd64");
    return kp_strdup(strcmp(system.machine, "aarch64") == 0 ? "arm64" : system.machine);
}

/* Out of the bundle, which has been verified whole, into the state folder. */
static int extract(const struct kp_site *site, const char *path, struct kp_err *err)
{
    kp_auto_free char *arch = own_arch();
    const struct kp_file *file = kp_manifest_file(site->manifest, "kubectl", arch);
    kp_auto_free char *packed = NULL;
    struct kp_digest digest;
    size_t len;
    if (!file)
        return kp_fail_as(err, KP_MISSING, "missing_file", "the bundle has no kubectl for %s",
                          arch);
    if (file->size > BLOB_MAX)
        return kp_fail_as(err, KP_DAMAGED, "too_large", "kubectl is larger than %zu bytes",
                          BLOB_MAX);
    kp_auto_value(kp_buf) plain = KP_BUF(BLOB_MAX);
    kp_auto(kp_unzst) stream = kp_unzst_new(file->size, 27, add_plain, &plain);
    if (kp_bundle_load(site->bundle, &file->blob, BLOB_MAX, &packed, &len, err) < 0 ||
        kp_unzst_feed(stream, packed, len, err) < 0 || kp_unzst_finish(stream, err) < 0)
        return kp_wrap(err, "kubectl");
    kp_sha256(plain.data, plain.len, &digest);
    if (!kp_digest_equal(&digest, &file->sha256))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "kubectl is not what the manifest says");
    return kp_file_write_atomic(path, kp_buf_slice(&plain), 0755, err);
}

static char *find_in_path(const char *name)
{
    const char *path = getenv("PATH");
    struct kp_slice rest = kp_slice_of(path ? path : ""), folder;
    while (rest.len) {
        if (!kp_slice_cut(&rest, ':', &folder)) {
            folder = rest;
            rest.len = 0;
        }
        kp_auto_free char *file = kp_asprintf("%.*s/%s", (int)folder.len, folder.ptr, name);
        if (folder.len && access(file, X_OK) == 0)
            return kp_steal(&file);
    }
    return NULL;
}

/* With --bundle the one in it; else that of an earlier time; else what PATH has. */
static int find_kubectl(char **out, const struct kp_site_options *options, const char *folder,
                        struct kp_err *err)
{
    kp_auto_free char *own = kp_path_join(folder, "kubectl");
    if (options->bundle) {
        kp_auto(kp_open_site) open = NULL;
        if (kp_site_open(&open, options, KP_SITE_READ_ONLY, err) < 0 ||
            extract(kp_site_of(open), own, err) < 0)
            return -1;
    }
    *out = access(own, X_OK) == 0 ? kp_steal(&own) : find_in_path("kubectl");
    if (*out)
        return 0;
    kp_fail_as(err, KP_MISSING, "no_kubectl", "there is no kubectl on this host");
    return kp_hint(err, "give --bundle once: it is taken out of it and kept in %s", folder);
}

static bool answers(const char *host, uint16_t port, struct kp_slice ca)
{
    struct kp_net_probe probe = {
        .host = host, .port = port, .timeout = PROBE_S, .tls = true, .ca = ca};
    struct kp_net_probe_result found;
    struct kp_err ignored = KP_ERR_INIT;
    return kp_net_probe(&probe, &found, &ignored) == 0;
}

/* The first that answers: a load balancer before the control planes, else these in their order. */
static int pick(char **context, const struct kp_inventory *inventory, struct kp_slice ca,
                struct kp_err *err)
{
    enum kp_endpoint_mode mode = kp_endpoint_mode(inventory);
    kp_auto_free char *external = kp_endpoint_external_host(inventory);
    const char *address = external ? external : inventory->kubernetes.vip_address;
    const char *colon = strrchr(inventory->kubernetes.endpoint, ':');
    uint64_t port = KP_API_PORT;
    if (mode == KP_ENDPOINT_EXTERNAL && !kp_parse_u64(kp_slice_of(colon + 1), 65535, &port))
        return kp_fail(err, KP_USAGE, "kubernetes.endpoint: no port");
    if (address && answers(address, (uint16_t)port, ca)) {
        *context = kp_strdup(inventory->cluster);
        return 0;
    }
    for (size_t i = 0; i < inventory->control_plane_count; i++) {
        const struct kp_node *node = &inventory->nodes[i];
        if (!answers(node->address, KP_API_PORT, ca)) {
            fprintf(stderr, "kinstall: %s does not answer\n", node->name);
            continue;
        }
        *context = kp_asprintf("%s@%s", node->name, inventory->cluster);
        return 0;
    }
    kp_fail_as(err, KP_FAILED, "api_unreachable", "no control plane of %s answers",
               inventory->cluster);
    return kp_hint(err,
                   "is this host in reach of their port %d? kinstall status says how the "
                   "nodes are",
                   KP_API_PORT);
}

static int run(const char *program, const char *kubeconfig, const char *context, int argc,
               char **argv, struct kp_err *err)
{
    const char *args[ARGS_MAX] = {program, "--kubeconfig", kubeconfig, "--context", context};
    if ((size_t)argc + 6 > ARGS_MAX)
        return kp_fail(err, KP_USAGE, "more than %d arguments", ARGS_MAX - 6);
    for (int i = 0; i < argc; i++)
        args[5 + i] = argv[i];
    signal(SIGPIPE, SIG_DFL);
    execv(program, (char *const *)(uintptr_t)args);
    return kp_fail_sys(err, errno, "run %s", program);
}

static int run_kubectl(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    kp_auto(kp_inventory) inventory = NULL;
    kp_auto_free char *config = NULL, *pem = NULL, *program = NULL, *context = NULL;
    size_t len, pem_len;
    if (!options->site.inventory)
        return kp_fail(err, KP_USAGE, "--inventory is missing");
    if (kp_inventory_load(&inventory, options->site.inventory, err) < 0)
        return -1;
    kp_auto_free char *folder = kp_inventory_state_folder(inventory);
    kp_auto_free char *path = kp_path_join(folder, "kubeconfig");
    if (kp_file_read(path, KUBECONFIG_MAX, &config, &len, err) < 0)
        return kp_hint(err, "it is written by kinstall apply");
    bool sane = kp_endpoint_ca(&pem, &pem_len, (struct kp_slice){config, len});
    explicit_bzero(config, len);
    if (!sane)
        return kp_fail_as(err, KP_DAMAGED, "bad_kubeconfig", "%s has no CA", path);
    if (find_kubectl(&program, &options->site, folder, err) < 0 ||
        pick(&context, inventory, (struct kp_slice){pem, pem_len}, err) < 0)
        return -1;
    return run(program, path, context, argc, argv, err);
}

const struct kp_command kp_cmd_kubectl = {
    "kubectl",
    "-- ARGUMENTS…",
    0,
    ARGS_MAX,
    "runs kubectl as the admin, by a control plane that answers",
    "The program is the one in the state folder, which --bundle takes out of the bundle, else what "
    "PATH has. What stands behind -- is kubectl's own.",
    option_table,
    sizeof(struct options),
    run_kubectl};
