/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/mirrors.h"

#include "core/file.h"
#include "core/text.h"
#include "manifests/yaml.h"

#include <errno.h>
#include <sys/stat.h>

#define KIND "kpack.mirrors/v1"
#define PASSWORD_MAX 4096
#define REALMS_MAX 16
#define URL_MAX 2048
#define DOCKER_HUB_HOST "registry-1.docker.io"

struct rule {
    struct kp_site site;
    bool is_url;
    char *password; /* wiped when freed */
};

struct kp_mirrors {
    struct kp_yaml_document *document;
    struct rule *rules;
    size_t count;
};

void kp_mirrors_free(struct kp_mirrors *mirrors)
{
    if (!mirrors)
        return;
    for (size_t i = 0; i < mirrors->count; i++)
        kp_free_secret(mirrors->rules[i].password,
                       mirrors->rules[i].password ? strlen(mirrors->rules[i].password) : 0);
    kp_free(mirrors->rules);
    kp_yaml_document_free(mirrors->document);
    kp_free(mirrors);
}

static bool is_url(const char *text)
{
    return kp_starts_with(text, "https://") || kp_starts_with(text, "http://");
}

/* No user:password, query or fragment: a rule is a plain prefix. */
static bool is_plain_url(const char *url)
{
    const char *host = strstr(url, "://") + 3;
    size_t len = strcspn(host, "/");
    return len && !strpbrk(url, "@?# \\") && kp_text_plain(url, URL_MAX);
}

/* host[:port][/prefix] */
static bool is_registry(struct kp_arena *arena, const char *text)
{
    size_t len = strcspn(text, "/");
    if (!kp_reference_is_registry(kp_arena_strndup(arena, text, len)))
        return false;
    return text[len] == '\0' || kp_reference_is_repository(text + len + 1);
}

static char *beside(struct kp_arena *arena, const char *file, const char *path)
{
    if (path[0] == '/')
        return kp_arena_strdup(arena, path);
    kp_auto_free char *folder = kp_path_dir(file);
    kp_auto_free char *expanded = kp_path_expand(path);
    kp_auto_free char *joined =
        expanded[0] == '/' ? kp_strdup(expanded) : kp_path_join(folder, expanded);
    return kp_arena_strdup(arena, joined);
}

static int read_password(const struct kp_yaml *at, const char *path, char **out, struct kp_err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return kp_yaml_fail(at, err, "%s: %s", path, kp_strerror(errno));
    if (st.st_mode & 077) {
        kp_yaml_fail(at, err, "%s can be read by others (mode %04o)", path,
                     (unsigned)st.st_mode & 07777);
        return kp_hint(err, "chmod 600 %s", path);
    }
    kp_auto_free char *text = NULL;
    size_t len = 0;
    if (kp_file_read(path, PASSWORD_MAX, &text, &len, err) < 0)
        return -1;
    struct kp_slice rest = {text, len}, line = {0};
    bool good = kp_slice_line(&rest, &line) && line.len && !memchr(line.ptr, '\0', line.len);
    if (good)
        *out = kp_strndup(line.ptr, line.len);
    explicit_bzero(text, len);
    return good ? 0 : kp_yaml_fail(at, err, "%s: its first line is empty", path);
}

static void read_credentials(struct kp_yaml_reader *r, struct kp_arena *arena, const char *file,
                             struct rule *rule)
{
    rule->site.username = kp_yaml_text(r, "username", NULL);
    const char *password = kp_yaml_text(r, "password_file", NULL);
    if (kp_yaml_get(r->map, "password"))
        kp_yaml_complain(r, "password",
                         "a password does not belong here; put it in a file of "
                         "mode 0600 and name that as password_file");
    if (r->failed)
        return;
    if (!rule->site.username != !password) {
        kp_yaml_complain(r, rule->site.username ? "username" : "password_file",
                         "username and password_file go together");
        return;
    }
    if (password && read_password(kp_yaml_get(r->map, "password_file"),
                                  beside(arena, file, password), &rule->password, r->err) < 0)
        r->failed = true;
    rule->site.password = rule->password;
}

static void check_places(struct kp_yaml_reader *r, struct kp_arena *arena, struct rule *rule)
{
    const struct kp_site *site = &rule->site;
    rule->is_url = is_url(site->from);
    if (rule->is_url != is_url(site->to))
        kp_yaml_complain(r, "to",
                         "from and to must both be URLs, or both image registries "
                         "(host[:port][/prefix], no scheme)");
    else if (rule->is_url && !is_plain_url(site->from))
        kp_yaml_complain(r, "from", "'%s' is no plain URL prefix", site->from);
    else if (rule->is_url && !is_plain_url(site->to))
        kp_yaml_complain(r, "to", "'%s' is no plain URL prefix", site->to);
    else if (!rule->is_url && !is_registry(arena, site->from))
        kp_yaml_complain(r, "from", "'%s' is neither a URL nor host[:port][/prefix]", site->from);
    else if (!rule->is_url && !is_registry(arena, site->to))
        kp_yaml_complain(r, "to", "'%s' is not host[:port][/prefix]", site->to);
    else if (rule->is_url && site->plain_http)
        kp_yaml_complain(r, "plain_http", "write http:// in `to` instead");
    else if (rule->is_url && kp_ends_with(site->from, "/") != kp_ends_with(site->to, "/"))
        kp_yaml_complain(r, "to", "from and to must both end in '/' or both not");
}

static int read_rule(const char *file, struct kp_arena *arena, const struct kp_yaml *map,
                     struct rule *rule, struct kp_err *err)
{
    struct kp_yaml_reader r = kp_yaml_read(map, err);
    size_t realm_count = 0;
    rule->site.from = kp_yaml_text_required(&r, "from");
    rule->site.to = kp_yaml_text_required(&r, "to");
    rule->site.ca = kp_yaml_text(&r, "ca", NULL);
    rule->site.plain_http = kp_yaml_bool(&r, "plain_http", false);
    rule->site.insecure = kp_yaml_bool(&r, "insecure", false);
    rule->site.realms = kp_yaml_texts(&r, "realms", REALMS_MAX, &realm_count);
    if (!r.failed)
        check_places(&r, arena, rule);
    for (size_t i = 0; !r.failed && i < realm_count; i++)
        if (!kp_reference_is_registry(rule->site.realms[i]))
            kp_yaml_complain(&r, "realms", "'%s' is not host or host:port", rule->site.realms[i]);
    if (!r.failed)
        read_credentials(&r, arena, file, rule);
    if (kp_yaml_finish(&r) < 0)
        return -1;
    if (!rule->site.realms)
        rule->site.realms = kp_arena_array(arena, 1, sizeof(char *));
    if (rule->site.ca) {
        rule->site.ca = beside(arena, file, rule->site.ca);
        if (!kp_file_exists(rule->site.ca))
            return kp_yaml_fail(kp_yaml_get(map, "ca"), err, "%s: %s", rule->site.ca,
                                kp_strerror(ENOENT));
    }
    return 0;
}

static int refuse_doubles(const struct kp_mirrors *mirrors, const struct kp_yaml *list,
                          struct kp_err *err)
{
    for (size_t i = 0; i < mirrors->count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(mirrors->rules[i].site.from, mirrors->rules[k].site.from) == 0)
                return kp_yaml_fail(list->items[i], err, "from '%s' stands twice",
                                    mirrors->rules[i].site.from);
    return 0;
}

static int read_rules(struct kp_mirrors *mirrors, const char *path, struct kp_err *err)
{
    struct kp_arena *arena = kp_yaml_arena(mirrors->document);
    struct kp_yaml_reader r = kp_yaml_read(kp_yaml_root(mirrors->document), err);
    const char *kind = kp_yaml_text_required(&r, "kind");
    const struct kp_yaml *list = kp_yaml_list(&r, "mirrors", KP_MIRRORS_MAX, true);
    if (!r.failed && strcmp(kind, KIND) != 0)
        kp_yaml_complain(&r, "kind", "'%s' is not a mirrors file (%s)", kind, KIND);
    if (kp_yaml_finish(&r) < 0)
        return -1;
    mirrors->rules = kp_alloc_array(list->count, sizeof(*mirrors->rules));
    mirrors->count = list->count;
    for (size_t i = 0; i < list->count; i++)
        if (read_rule(path, arena, list->items[i], &mirrors->rules[i], err) < 0)
            return -1;
    return refuse_doubles(mirrors, list, err);
}

int kp_mirrors_load(struct kp_mirrors **out, const char *path, struct kp_err *err)
{
    kp_auto(kp_mirrors) mirrors = kp_alloc(sizeof(*mirrors));
    if (path &&
        (kp_yaml_load(&mirrors->document, path, err) < 0 || read_rules(mirrors, path, err) < 0))
        return -1;
    *out = kp_steal(&mirrors);
    return 0;
}

/* "https://a/b" is a prefix of "https://a/b" and "https://a/b/c", not of "https://a/bc". */
static bool fits(const char *prefix, const char *text)
{
    size_t len = strlen(prefix);
    if (strncmp(prefix, text, len) != 0)
        return false;
    return kp_ends_with(prefix, "/") || text[len] == '\0' || text[len] == '/' || text[len] == '?';
}

static const struct rule *find_rule(const struct kp_mirrors *mirrors, const char *text, bool url)
{
    const struct rule *best = NULL;
    for (size_t i = 0; mirrors && i < mirrors->count; i++) {
        const struct rule *rule = &mirrors->rules[i];
        if (rule->is_url == url && fits(rule->site.from, text) &&
            (!best || strlen(rule->site.from) > strlen(best->site.from)))
            best = rule;
    }
    return best;
}

char *kp_mirrors_url(const struct kp_mirrors *mirrors, const char *url, const struct kp_site **site)
{
    const struct rule *rule = find_rule(mirrors, url, true);
    *site = rule ? &rule->site : NULL;
    if (!rule)
        return kp_strdup(url);
    return kp_asprintf("%s%s", rule->site.to, url + strlen(rule->site.from));
}

static void place_at(struct kp_registry_place *out, const char *host, const char *repository,
                     bool plain)
{
    const char *real = strcmp(host, KP_DOCKER_HUB) == 0 ? DOCKER_HUB_HOST : host;
    out->base = kp_asprintf("%s://%s", plain ? "http" : "https", real);
    out->host = kp_strdup(real);
    out->repository = kp_strdup(repository);
}

void kp_mirrors_registry(const struct kp_mirrors *mirrors, const struct kp_reference *reference,
                         struct kp_registry_place *out)
{
    *out = (struct kp_registry_place){0};
    kp_auto_free char *name = kp_reference_name(reference);
    const struct rule *rule = find_rule(mirrors, name, false);
    if (!rule) {
        place_at(out, reference->registry, reference->repository, false);
        return;
    }
    out->site = &rule->site;
    /* What the rule's prefix leaves over begins with '/', or is empty. */
    kp_auto_free char *whole = kp_asprintf("%s%s", rule->site.to, name + strlen(rule->site.from));
    char *slash = strchr(whole, '/');
    if (slash)
        *slash = '\0';
    place_at(out, whole, slash ? slash + 1 : "", rule->site.plain_http);
}

void kp_registry_place_release(struct kp_registry_place *place)
{
    kp_free(place->base);
    kp_free(place->host);
    kp_free(place->repository);
    *place = (struct kp_registry_place){0};
}

void kp_mirrors_insecure(const struct kp_mirrors *mirrors,
                         void (*each)(void *user, const struct kp_site *site), void *user)
{
    for (size_t i = 0; mirrors && i < mirrors->count; i++)
        if (mirrors->rules[i].site.insecure)
            each(user, &mirrors->rules[i].site);
}
