/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/lock.h"

#include "bundle/revocations.h"
#include "core/text.h"

#include "core/file.h"

#include <assert.h>
#include <stdio.h>

#define VALUES_MAX 16 /* texts for one chart */

static json_t *texts_json(const char *const *texts)
{
    json_t *array = json_array();
    for (; texts && *texts; texts++)
        json_array_append_new(array, json_string(*texts));
    return array;
}

static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_string(text));
}

static void set_digest(json_t *object, const char *key, const struct kp_digest *digest)
{
    set_text(object, key, kp_digest_hex(digest).hex);
}

static void set_roles(json_t *object, unsigned roles)
{
    json_t *array = json_array();
    for (unsigned role = 1; role <= KP_ROLE_ETCD; role <<= 1)
        if (roles & role)
            json_array_append_new(array, json_string(kp_role_text(role)));
    json_object_set_new(object, "roles", array);
}

static json_t *file_json(const struct kp_plan_file *file)
{
    json_t *out = json_object(), *installs = json_array();
    set_text(out, "component", file->component);
    set_text(out, "version", file->version);
    set_text(out, "arch", file->arch);
    set_text(out, "url", file->url);
    set_digest(out, "sha256", &file->digest);
    json_object_set_new(out, "size", json_integer((json_int_t)file->size));
    set_text(out, "checked", kp_checked_text(file->checked));
    set_text(out, "license", file->license);
    set_roles(out, file->roles);
    for (size_t i = 0; i < file->install_count; i++) {
        const struct kp_plan_install *install = &file->installs[i];
        json_t *item = json_object();
        char mode[8];
        snprintf(mode, sizeof(mode), "%04o", install->mode & 07777);
        set_text(item, "name", install->name);
        if (install->member)
            set_text(item, "member", install->member);
        set_text(item, "target", install->target);
        set_text(item, "mode", mode);
        json_array_append_new(installs, item);
    }
    json_object_set_new(out, "install", installs);
    if (file->runtime)
        set_text(out, "runtime", file->runtime);
    if (file->programs && file->programs[0])
        json_object_set_new(out, "programs", texts_json(file->programs));
    return out;
}

static json_t *files_json(const struct kp_plan_file *files, size_t count)
{
    json_t *out = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(out, file_json(&files[i]));
    return out;
}

static json_t *image_json(const struct kp_plan_image *image)
{
    json_t *out = json_object();
    set_text(out, "reference", image->reference);
    set_text(out, "name", image->name);
    set_digest(out, "digest", &image->root);
    set_text(out, "checked", kp_checked_text(image->checked));
    if (image->has_expected)
        set_digest(out, "expected", &image->expected);
    set_roles(out, image->roles);
    json_object_set_new(out, "pinned", json_boolean(image->pinned));
    set_text(out, "why", image->why);
    set_text(out, "license", image->license);
    return out;
}

static json_t *checks_json(const struct kp_plan_manifest *manifest)
{
    json_t *out = json_array();
    for (size_t i = 0; i < manifest->check_count; i++)
        json_array_append_new(out, json_pack("{s:s, s:s, s:s}", "kind", manifest->checks[i].kind,
                                             "subject", manifest->checks[i].subject, "what",
                                             manifest->checks[i].what));
    return out;
}

static json_t *made_json(const struct kp_plan_made *made)
{
    json_t *out = json_object(), *edits = json_array();
    set_digest(out, "from", &made->digest);
    json_object_set_new(out, "size", json_integer((json_int_t)made->size));
    if (made->namespace_) {
        set_text(out, "namespace", made->namespace_);
        json_object_set_new(out, "values", texts_json(made->values));
    }
    for (size_t i = 0; i < made->edit_count; i++)
        json_array_append_new(
            edits, json_pack("{s:s, s:s}", "find", made->edits[i].find, "put", made->edits[i].put));
    json_object_set_new(out, "edit", edits);
    return out;
}

static json_t *manifest_json(const struct kp_plan_manifest *manifest)
{
    json_t *out = json_object(), *replaces = json_array(), *waits = json_array();
    set_text(out, "name", manifest->name);
    set_text(out, "why", manifest->why);
    set_text(out, "url", manifest->url);
    set_digest(out, "sha256", &manifest->digest);
    json_object_set_new(out, "size", json_integer((json_int_t)manifest->size));
    set_text(out, "checked", kp_checked_text(manifest->checked));
    for (size_t i = 0; i < manifest->replace_count; i++)
        json_array_append_new(replaces, json_pack("{s:s, s:s}", "find", manifest->replace[i].find,
                                                  "with", manifest->replace[i].with));
    for (size_t i = 0; i < manifest->wait_count; i++)
        json_array_append_new(waits, json_pack("{s:s, s:s, s:s}", "kind", manifest->wait[i].kind,
                                               "namespace", manifest->wait[i].namespace_, "name",
                                               manifest->wait[i].name));
    json_object_set_new(out, "replace", replaces);
    json_object_set_new(out, "wait", waits);
    if (manifest->made)
        json_object_set_new(out, "made", made_json(manifest->made));
    if (manifest->addon)
        set_text(out, "addon", manifest->addon);
    if (manifest->version)
        set_text(out, "version", manifest->version);
    if (manifest->check_count)
        json_object_set_new(out, "checks", checks_json(manifest));
    return out;
}

static json_t *runtimes_json(const struct kp_plan *plan)
{
    json_t *out = json_array();
    for (size_t i = 0; i < plan->runtime_count; i++) {
        const struct kp_runtime *runtime = &plan->runtimes[i];
        json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:i}", "name", runtime->name, "kind",
                                             kp_runtime_kinds[runtime->kind], "version",
                                             runtime->version, "config", (int)runtime->config));
    }
    return out;
}

static json_t *hooks_json(const struct kp_plan *plan)
{
    json_t *out = json_array();
    for (size_t i = 0; i < plan->hook_count; i++) {
        const struct kp_hook *hook = &plan->hooks[i];
        json_array_append_new(out,
                              json_pack("{s:s, s:s, s:s, s:s, s:I}", "phase", hook->phase, "when",
                                        hook->after ? "after" : "before", "where", hook->where,
                                        "file", hook->file, "timeout", (json_int_t)hook->timeout));
    }
    return out;
}

static json_t *bases_json(const struct kp_plan *plan)
{
    json_t *out = json_array();
    for (size_t i = 0; i < plan->base_count; i++) {
        json_t *item = json_object();
        set_digest(item, "id", &plan->bases[i].id);
        set_text(item, "name", plan->bases[i].name);
        json_object_set_new(item, "serial", json_integer((json_int_t)plan->bases[i].serial));
        json_array_append_new(out, item);
    }
    return out;
}

char *kp_lock_dump(const struct kp_plan *plan)
{
    kp_auto_json out = json_object();
    json_t *images = json_array(), *manifests = json_array();
    for (size_t i = 0; i < plan->image_count; i++)
        json_array_append_new(images, image_json(&plan->images[i]));
    for (size_t i = 0; i < plan->manifest_count; i++)
        json_array_append_new(manifests, manifest_json(&plan->manifests[i]));
    set_text(out, "kind", KP_LOCK_KIND);
    set_text(out, "name", plan->name);
    json_object_set_new(out, "serial", json_integer((json_int_t)plan->serial));
    set_text(out, "created", plan->created);
    set_text(out, "kpack", plan->kpack);
    set_text(out, "zstd", plan->zstd);
    json_object_set_new(out, "level", json_integer(plan->level));
    set_text(out, "kubernetes", plan->kubernetes);
    set_text(out, "kubeadm_api", plan->kubeadm_api);
    json_object_set_new(out, "containerd_config", json_integer(plan->containerd_config));
    if (plan->runtime_count)
        json_object_set_new(out, "runtimes", runtimes_json(plan));
    set_text(out, "network", plan->network);
    json_object_set_new(out, "arches", texts_json(plan->arches));
    json_object_set_new(out, "programs", texts_json(plan->programs));
    json_object_set_new(out, "waived", texts_json(plan->waived));
    json_object_set_new(out, "files", files_json(plan->files, plan->file_count));
    json_object_set_new(out, "images", images);
    json_object_set_new(out, "manifests", manifests);
    if (plan->helm_count)
        json_object_set_new(out, "helm", files_json(plan->helm, plan->helm_count));
    if (plan->hook_count)
        json_object_set_new(out, "hooks", hooks_json(plan));
    if (plan->base_count)
        json_object_set_new(out, "bases", bases_json(plan));
    if (plan->expires)
        set_text(out, "expires", plan->expires);
    if (json_array_size(plan->revocations))
        json_object_set(out, "revocations", plan->revocations);
    return kp_json_dump(out, false);
}

static unsigned read_roles(struct kp_json_reader *r)
{
    unsigned roles = 0;
    const char **texts = kp_json_texts(r, "roles", 3, false, NULL);
    for (; !r->failed && *texts; texts++) {
        unsigned role = kp_role_parse(*texts);
        if (!role)
            kp_json_complain(r, "roles", "'%s' is unknown", *texts);
        roles |= role;
    }
    return roles;
}

static enum kp_checked read_checked(struct kp_json_reader *r)
{
    const char *text = kp_json_text(r, "checked", KP_NAME_MAX);
    for (int i = 0; i < KP_CHECKED_COUNT; i++)
        if (strcmp(text, kp_checked_text((enum kp_checked)i)) == 0)
            return (enum kp_checked)i;
    kp_json_complain(r, "checked", "'%s' is unknown", text);
    return KP_CHECKED_SEEN;
}

static const char *read_text(struct kp_json_reader *r, const char *key)
{
    return kp_json_text(r, key, KP_PATH_MAX);
}

/* Begins the list `key`: allocates count items of size each; the array is NULL where it is missing.
 */
static void *begin_list(struct kp_json_reader *r, const char *key, size_t max, size_t size,
                        const json_t **array, size_t *count)
{
    *count = kp_json_array(r, key, max, false, array);
    return kp_arena_array(r->arena, *count, size);
}

static void end_element(struct kp_json_reader *r, struct kp_json_reader *item)
{
    if (kp_json_finish(item) < 0)
        r->failed = true;
}

static void read_installs(struct kp_json_reader *r, struct kp_plan_file *file)
{
    const json_t *array;
    file->installs = begin_list(r, "install", KP_FILES_MAX, sizeof(*file->installs), &array,
                                &file->install_count);
    for (size_t i = 0; i < file->install_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "install", array, i);
        struct kp_plan_install *install = &file->installs[i];
        uint64_t mode = 0;
        install->name = read_text(&item, "name");
        install->member = kp_json_text_optional(&item, "member", KP_PATH_MAX);
        install->target = read_text(&item, "target");
        if (!kp_parse_octal(kp_slice_of(kp_json_text(&item, "mode", 8)), 0755, &mode))
            kp_json_complain(&item, "mode", "octal digits are needed");
        install->mode = (unsigned)mode;
        end_element(r, &item);
    }
}

static struct kp_plan_file *read_files(struct kp_json_reader *r, const char *key, bool optional,
                                       size_t *count)
{
    const json_t *array;
    *count = kp_json_array(r, key, KP_FILES_MAX, optional, &array);
    struct kp_plan_file *files = kp_arena_array(r->arena, *count, sizeof(*files));
    for (size_t i = 0; i < *count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, key, array, i);
        struct kp_plan_file *file = &files[i];
        file->component = read_text(&item, "component");
        file->version = read_text(&item, "version");
        file->arch = read_text(&item, "arch");
        file->url = read_text(&item, "url");
        file->digest = kp_json_digest(&item, "sha256");
        file->size = kp_json_number(&item, "size", KP_ENTRY_SIZE_MAX);
        file->checked = read_checked(&item);
        file->license = read_text(&item, "license");
        file->roles = read_roles(&item);
        file->known = true;
        file->runtime = kp_json_text_optional(&item, "runtime", KP_NAME_MAX);
        read_installs(&item, file);
        file->programs = kp_json_texts(&item, "programs", KP_PROGRAMS_MAX, true, NULL);
        end_element(r, &item);
    }
    return files;
}

static void read_runtimes(struct kp_json_reader *r, struct kp_plan *plan)
{
    const json_t *array;
    plan->runtime_count = kp_json_array(r, "runtimes", KP_RUNTIMES_MAX, true, &array);
    plan->runtimes = kp_arena_array(r->arena, plan->runtime_count, sizeof(*plan->runtimes));
    for (size_t i = 0; i < plan->runtime_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "runtimes", array, i);
        struct kp_runtime *runtime = &plan->runtimes[i];
        const char *kind = read_text(&item, "kind");
        runtime->name = read_text(&item, "name");
        runtime->version = read_text(&item, "version");
        runtime->config = (unsigned)kp_json_number(&item, "config", 16);
        while (kp_runtime_kinds[runtime->kind] &&
               strcmp(kp_runtime_kinds[runtime->kind], kind) != 0)
            runtime->kind++;
        if (!item.failed && !kp_runtime_kinds[runtime->kind])
            kp_json_complain(&item, "kind", "'%s' is unknown", kind);
        end_element(r, &item);
    }
}

static void read_images(struct kp_json_reader *r, struct kp_plan *plan)
{
    const json_t *array;
    plan->images =
        begin_list(r, "images", KP_IMAGES_MAX, sizeof(*plan->images), &array, &plan->image_count);
    for (size_t i = 0; i < plan->image_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "images", array, i);
        struct kp_plan_image *image = &plan->images[i];
        image->reference = read_text(&item, "reference");
        image->name = read_text(&item, "name");
        image->root = kp_json_digest(&item, "digest");
        image->checked = read_checked(&item);
        image->has_expected = json_object_get(item.object, "expected") != NULL;
        if (image->has_expected)
            image->expected = kp_json_digest(&item, "expected");
        image->roles = read_roles(&item);
        image->pinned = kp_json_bool_optional(&item, "pinned", false);
        image->why = read_text(&item, "why");
        image->license = read_text(&item, "license");
        image->known = true;
        image->arches = plan->arches;
        end_element(r, &item);
    }
}

static void read_replaces(struct kp_json_reader *r, struct kp_plan_manifest *manifest)
{
    const json_t *array;
    struct kp_replace *out =
        begin_list(r, "replace", 32, sizeof(*out), &array, &manifest->replace_count);
    for (size_t i = 0; i < manifest->replace_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "replace", array, i);
        out[i].find = read_text(&item, "find");
        out[i].with = read_text(&item, "with");
        end_element(r, &item);
    }
    manifest->replace = out;
}

static void read_waits(struct kp_json_reader *r, struct kp_plan_manifest *manifest)
{
    const json_t *array;
    struct kp_wait *out = begin_list(r, "wait", 32, sizeof(*out), &array, &manifest->wait_count);
    for (size_t i = 0; i < manifest->wait_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "wait", array, i);
        out[i].kind = read_text(&item, "kind");
        out[i].namespace_ = read_text(&item, "namespace");
        out[i].name = read_text(&item, "name");
        end_element(r, &item);
    }
    manifest->wait = out;
}

static void read_checks(struct kp_json_reader *r, struct kp_plan_manifest *manifest)
{
    const json_t *array = NULL;
    manifest->check_count = kp_json_array(r, "checks", 32, true, &array);
    struct kp_addon_check *out = kp_arena_array(r->arena, manifest->check_count, sizeof(*out));
    for (size_t i = 0; i < manifest->check_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "checks", array, i);
        out[i].kind = read_text(&item, "kind");
        out[i].subject = kp_json_text(&item, "subject", KP_CHECK_TEXT_MAX);
        out[i].what = read_text(&item, "what");
        end_element(r, &item);
    }
    manifest->checks = out;
}

static struct kp_plan_made *read_made(struct kp_json_reader *r, struct kp_json_reader *of)
{
    const json_t *array;
    const json_t *object = kp_json_object(of, "made", true);
    if (!object)
        return NULL;
    struct kp_json_reader item =
        kp_json_read(object, kp_arena_printf(r->arena, "%s.made", of->path), r->arena, r->err);
    struct kp_plan_made *made = kp_arena_alloc(r->arena, sizeof(*made));
    made->known = true;
    made->digest = kp_json_digest(&item, "from");
    made->size = kp_json_number(&item, "size", KP_ENTRY_SIZE_MAX);
    made->namespace_ = kp_json_text_optional(&item, "namespace", KP_NAME_MAX);
    made->values = kp_json_texts(&item, "values", VALUES_MAX, !made->namespace_, NULL);
    struct kp_edit *edits =
        begin_list(&item, "edit", 32, sizeof(*edits), &array, &made->edit_count);
    for (size_t i = 0; i < made->edit_count && !item.failed; i++) {
        struct kp_json_reader edit = kp_json_element(&item, "edit", array, i);
        edits[i].find = read_text(&edit, "find");
        edits[i].put = read_text(&edit, "put");
        if (!edit.failed && !*edits[i].find)
            kp_json_complain(&edit, "find", "the text is empty");
        end_element(&item, &edit);
    }
    made->edits = edits;
    end_element(of, &item);
    return made;
}

static void read_manifests(struct kp_json_reader *r, struct kp_plan *plan)
{
    const json_t *array;
    plan->manifests = begin_list(r, "manifests", KP_FILES_MAX, sizeof(*plan->manifests), &array,
                                 &plan->manifest_count);
    for (size_t i = 0; i < plan->manifest_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "manifests", array, i);
        struct kp_plan_manifest *manifest = &plan->manifests[i];
        manifest->name = read_text(&item, "name");
        manifest->why = read_text(&item, "why");
        manifest->url = read_text(&item, "url");
        manifest->digest = kp_json_digest(&item, "sha256");
        manifest->size = kp_json_number(&item, "size", KP_ENTRY_SIZE_MAX);
        manifest->checked = read_checked(&item);
        manifest->known = true;
        read_replaces(&item, manifest);
        read_waits(&item, manifest);
        manifest->addon = kp_json_text_optional(&item, "addon", KP_NAME_MAX);
        manifest->version = kp_json_text_optional(&item, "version", KP_NAME_MAX);
        read_checks(&item, manifest);
        manifest->made = read_made(r, &item);
        end_element(r, &item);
    }
}

static void read_hooks(struct kp_json_reader *r, struct kp_plan *plan)
{
    const json_t *array = NULL;
    plan->hook_count = kp_json_array(r, "hooks", KP_HOOKS_MAX, true, &array);
    plan->hooks = kp_arena_array(r->arena, plan->hook_count, sizeof(*plan->hooks));
    for (size_t i = 0; i < plan->hook_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "hooks", array, i);
        struct kp_hook *hook = &plan->hooks[i];
        hook->phase = read_text(&item, "phase");
        hook->after = strcmp(read_text(&item, "when"), "after") == 0;
        hook->where = read_text(&item, "where");
        hook->file = read_text(&item, "file");
        hook->timeout = kp_json_number(&item, "timeout", KP_HOOK_TIMEOUT_MAX);
        end_element(r, &item);
    }
}

static void read_bases(struct kp_json_reader *r, struct kp_plan *plan)
{
    const json_t *array;
    plan->base_count = kp_json_array(r, "bases", KP_BASES_MAX, true, &array);
    plan->bases = kp_arena_array(r->arena, plan->base_count, sizeof(*plan->bases));
    for (size_t i = 0; i < plan->base_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "bases", array, i);
        plan->bases[i].id = kp_json_digest(&item, "id");
        plan->bases[i].name = read_text(&item, "name");
        plan->bases[i].serial = kp_json_number(&item, "serial", INT64_MAX);
        end_element(r, &item);
    }
}

static void read_policy(struct kp_json_reader *r, struct kp_plan *plan)
{
    const json_t *array = NULL;
    time_t when;
    plan->expires = kp_json_text_optional(r, "expires", KP_TEXT_MAX);
    if (!r->failed && plan->expires && !kp_parse_utc(plan->expires, &when))
        kp_json_complain(r, "expires", "a time like 2026-11-23T21:00:00Z is needed");
    size_t n = kp_json_array(r, "revocations", KP_REVOCATIONS_MAX, true, &array);
    for (size_t i = 0; i < n && !r->failed; i++) {
        kp_auto(kp_document) document = NULL;
        struct kp_err why = KP_ERR_INIT;
        if (kp_document_from_json(&document, json_array_get(array, i), &why) < 0)
            kp_json_complain(r, "revocations", "element %zu: %s", i, why.message);
    }
    plan->revocations = array ? json_deep_copy(array) : NULL;
}

static int read_lock(struct kp_plan *plan, const json_t *document, const char *name,
                     struct kp_err *err)
{
    struct kp_json_reader r = kp_json_read(document, name, plan->arena, err);
    const char *kind = kp_json_text(&r, "kind", KP_NAME_MAX);
    if (strcmp(kind, KP_LOCK_KIND) != 0)
        kp_json_complain(&r, "kind", "%s is needed, not '%s'", KP_LOCK_KIND, kind);
    plan->name = read_text(&r, "name");
    plan->serial = kp_json_number(&r, "serial", INT64_MAX);
    plan->created = read_text(&r, "created");
    plan->kpack = read_text(&r, "kpack");
    plan->zstd = read_text(&r, "zstd");
    plan->level = (int)kp_json_number(&r, "level", KP_LEVEL_MAX);
    plan->kubernetes = read_text(&r, "kubernetes");
    plan->kubeadm_api = read_text(&r, "kubeadm_api");
    plan->containerd_config = (unsigned)kp_json_number(&r, "containerd_config", 16);
    read_runtimes(&r, plan);
    plan->network = read_text(&r, "network");
    plan->arches = kp_json_texts(&r, "arches", 8, false, NULL);
    plan->programs = kp_json_texts(&r, "programs", 64, false, NULL);
    plan->waived = kp_json_texts(&r, "waived", KP_LIST_MAX, false, NULL);
    if (!r.failed && (!plan->arches[0] || plan->level < 1))
        kp_json_complain(&r, "arches", "arches and level must not be empty");
    plan->files = read_files(&r, "files", false, &plan->file_count);
    plan->helm = read_files(&r, "helm", true, &plan->helm_count);
    for (size_t i = 0; !r.failed && i < plan->helm_count; i++)
        if (plan->helm[i].install_count != 1 || !plan->helm[i].installs[0].member)
            kp_json_complain(&r, "helm", "one member of an archive is needed");
    read_images(&r, plan);
    read_manifests(&r, plan);
    read_hooks(&r, plan);
    read_bases(&r, plan);
    read_policy(&r, plan);
    return kp_json_finish(&r);
}

int kp_lock_parse(struct kp_plan **out, struct kp_slice text, const char *name, struct kp_err *err)
{
    kp_auto(kp_plan) plan = kp_plan_new();
    kp_auto_json document = NULL;
    if (kp_json_parse(&document, text, KP_LOCK_MAX, name, err) < 0 ||
        read_lock(plan, document, name, err) < 0) {
        if (err) {
            err->code = KP_USAGE;
            err->reason = "bad_lock";
        }
        return -1;
    }
    *out = kp_steal(&plan);
    return 0;
}

int kp_lock_load(struct kp_plan **out, const char *path, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    size_t len;
    if (kp_file_read(path, KP_LOCK_MAX, &text, &len, err) < 0)
        return kp_wrap(err, "--lock");
    return kp_lock_parse(out, (struct kp_slice){text, len}, path, err);
}
