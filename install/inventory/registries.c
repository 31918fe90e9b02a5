/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/registries.h"

#include "bundle/names.h"
#include "core/base64.h"
#include "core/file.h"
#include "core/secret.h"
#include "core/text.h"
#include "install/inventory/inventory.h"
#include "install/inventory/network.h"
#include "install/inventory/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define REGISTRY(member) KP_AT(struct kp_registry, member)
#define INVENTORY(member) KP_AT(struct kp_inventory, member)
#define NO_PROXY_MAX 64
#define EXCEPTIONS_MAX ((size_t)256 << 10)
#define URL_MAX 512

/* "docker.io", "registry.site.example:5000": what stands before the first slash of a reference. */
static bool is_registry(const char *text)
{
    kp_auto_free char *reference = kp_asprintf("%s/x:1", text);
    return strchr(text, '/') == NULL && kp_reference_ok(reference);
}

/* https://host[:port][/path]: no user, no query. */
static bool is_url(const char *text)
{
    return kp_starts_with(text, "https://") && text[8] && text[8] != '/' &&
           strlen(text) <= URL_MAX && kp_text_plain(text, URL_MAX) && !strpbrk(text, " @?#\"'\\");
}

static bool is_proxy(const char *text)
{
    bool scheme = kp_starts_with(text, "http://") || kp_starts_with(text, "https://");
    return scheme && strlen(text) <= URL_MAX && kp_text_plain(text, URL_MAX) &&
           !strpbrk(text, " @?#\"'\\%$") && strlen(text) > 8;
}

/* It stands in a unit's file, where % and $ mean something. */
static bool is_exception(const char *text)
{
    return kp_rule_plain(text) && !strpbrk(text, "%$");
}

static bool is_user(const char *text)
{
    return *text && kp_text_plain(text, 128) && !strpbrk(text, ":\"\\");
}

static int registry_done(const struct kp_reading *reading, const struct kp_yaml *map, void *into)
{
    struct kp_registry *registry = into;
    const struct kp_inventory *inventory = reading->inventory;
    for (const struct kp_registry *other = inventory->registries; other < registry; other++)
        if (strcmp(other->host, registry->host) == 0)
            return kp_yaml_fail(map, reading->err, "%s is there twice", registry->host);
    if (registry->password_file && !registry->username)
        return kp_yaml_fail(map, reading->err, "password_file without a username");
    if (!registry->url_count) {
        registry->urls = kp_arena_array(reading->arena, 2, sizeof(char *));
        registry->urls[registry->url_count++] =
            kp_arena_printf(reading->arena, "https://%s", registry->host);
    }
    return 0;
}

static const struct kp_key registry_keys[] = {
    {.name = "host",
     .type = KP_KEY_TEXT,
     REGISTRY(host),
     .required = true,
     .good = is_registry,
     .need = "a registry's host as images name it (docker.io, registry.site.example:5000)",
     .what = "as images name it: `registry.site.example:5000`, `docker.io`"},
    {.name = "urls",
     .type = KP_KEY_TEXTS,
     KP_AT_COUNTED(struct kp_registry, urls, url_count),
     .most = KP_REGISTRY_URLS_MAX,
     .good = is_url,
     .need = "https://host[:port][/path], without user or query",
     .what = "where it is, in the order in which they are asked. A host that the bundle has images "
             "of is asked for at the mirrors first",
     .shown = "`https://HOST`"},
    {.name = "ca",
     .type = KP_KEY_PATH,
     REGISTRY(ca),
     .what = "PEM file on the admin host: the CAs of its certificate",
     .shown = "those of the node"},
    {.name = "username",
     .type = KP_KEY_TEXT,
     REGISTRY(username),
     .good = is_user,
     .need = "a user name without a colon",
     .what = "with which nodes pull",
     .shown = "no credentials"},
    {.name = "password_file",
     .type = KP_KEY_PATH,
     REGISTRY(password_file),
     .what =
         "its password: the first line of a file (0600) on the admin host. On nodes it stands in "
         "files that only root reads",
     .shown = "asked for at each run, or `--registry-password-fd`"},
    {.name = NULL}};
const struct kp_section kp_keys_registry = {.name = "registries",
                                            .keys = registry_keys,
                                            .size = sizeof(struct kp_registry),
                                            .done = registry_done};

static const struct kp_key proxy_keys[] = {
    {.name = "http",
     .type = KP_KEY_TEXT,
     INVENTORY(proxy.http),
     .good = is_proxy,
     .need = "http://host:port, without a user",
     .what = "`http://host:port`: of plain HTTP"},
    {.name = "https",
     .type = KP_KEY_TEXT,
     INVENTORY(proxy.https),
     .good = is_proxy,
     .need = "http://host:port, without a user",
     .what = "of HTTPS, which is what registries speak"},
    {.name = "no_proxy",
     .type = KP_KEY_TEXTS,
     KP_AT_COUNTED(struct kp_inventory, proxy.no_proxy, proxy.no_proxy_count),
     .most = NO_PROXY_MAX,
     .good = is_exception,
     .need = "a host, .domain, address or network",
     .what = "what goes without the proxy, beside the nodes, pods, services and the cluster's own "
             "names, which always do",
     .shown = "none more"},
    {.name = NULL}};
const struct kp_section kp_keys_http_proxy = {.name = "proxy", .keys = proxy_keys};

/* The file of a password must be nobody else's. */
static int read_password(struct kp_registry *registry, struct kp_err *err)
{
    const struct kp_secret_question question = {"the registry's password", "", "password_file"};
    struct stat st;
    kp_auto_fd int fd = open(registry->password_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return kp_fail_sys(err, errno, "open %s", registry->password_file);
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077)) {
        kp_fail(err, KP_USAGE, "%s may be read by others", registry->password_file);
        return kp_hint(err, "chmod 600 %s", registry->password_file);
    }
    return kp_secret_read(&registry->password, fd, &question, err);
}

static int ask_password(struct kp_registry *registry, int fd, struct kp_err *err)
{
    kp_auto_free char *what =
        kp_asprintf("the password of %s at %s", registry->username, registry->host);
    kp_auto_free char *prompt =
        kp_asprintf("password of %s at %s: ", registry->username, registry->host);
    const struct kp_secret_question question = {what, prompt, "--registry-password-fd"};
    return kp_secret_read(&registry->password, fd, &question, err);
}

static int read_ca(struct kp_registry *registry, struct kp_arena *arena, struct kp_err *err)
{
    kp_auto_free char *pem = NULL;
    size_t len;
    if (kp_file_read(registry->ca, KP_CA_PEM_MAX, &pem, &len, err) < 0)
        return -1;
    if (!strstr(pem, "-----BEGIN CERTIFICATE-----"))
        return kp_fail(err, KP_USAGE, "%s holds no certificate (PEM)", registry->ca);
    registry->pem = kp_arena_strdup(arena, pem);
    return 0;
}

int kp_registries_unlock(struct kp_inventory *inventory, int fd, struct kp_err *err)
{
    for (size_t i = 0; i < inventory->registry_count; i++) {
        struct kp_registry *registry = &inventory->registries[i];
        if (registry->ca && !registry->pem && read_ca(registry, inventory->arena, err) < 0)
            return kp_wrap(err, "registries[%zu].ca", i);
        if (!registry->username || registry->password)
            continue;
        if ((registry->password_file ? read_password(registry, err)
                                     : ask_password(registry, fd, err)) < 0)
            return kp_wrap(err, "registries[%zu]", i);
    }
    return 0;
}

void kp_registries_wipe(struct kp_inventory *inventory)
{
    for (size_t i = 0; i < inventory->registry_count; i++) {
        kp_secret_free(inventory->registries[i].password);
        inventory->registries[i].password = NULL;
    }
}

char *kp_registry_authorization(const struct kp_registry *registry)
{
    if (!registry->username || !registry->password)
        return NULL;
    char *both = kp_asprintf("%s:%s", registry->username, registry->password);
    char *encoded = kp_base64(both, strlen(both));
    char *out = kp_asprintf("Basic %s", encoded);
    kp_secret_free(both);
    kp_secret_free(encoded);
    return out;
}

const struct kp_registry *kp_registry_find(const struct kp_inventory *inventory, const char *host)
{
    for (size_t i = 0; i < inventory->registry_count; i++)
        if (strcmp(inventory->registries[i].host, host) == 0)
            return &inventory->registries[i];
    return NULL;
}

bool kp_http_proxy_is_set(const struct kp_inventory *inventory)
{
    return inventory->proxy.http || inventory->proxy.https;
}

static void add(struct kp_buf *out, const char *text)
{
    kp_buf_addf(out, "%s%s", out->len ? "," : "", text);
}

char *kp_http_proxy_exceptions(const struct kp_inventory *inventory)
{
    kp_auto_value(kp_buf) out = KP_BUF(EXCEPTIONS_MAX);
    if (!kp_http_proxy_is_set(inventory))
        return kp_strdup("");
    add(&out, "localhost,127.0.0.1,::1");
    for (size_t i = 0; i < inventory->node_count; i++) {
        const struct kp_node *node = kp_inventory_at(inventory, i);
        add(&out, node->address);
        add(&out, node->name);
    }
    kp_auto_free char *endpoint = kp_inventory_endpoint_name(inventory);
    kp_auto_free char *domain = kp_asprintf(".%s", inventory->kubernetes.domain);
    add(&out, endpoint);
    add(&out, inventory->kubernetes.pods);
    add(&out, inventory->kubernetes.services);
    add(&out, ".svc");
    add(&out, domain);
    for (size_t i = 0; i < inventory->proxy.no_proxy_count; i++)
        add(&out, inventory->proxy.no_proxy[i]);
    return kp_buf_steal(&out);
}
