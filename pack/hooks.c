/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/hooks.h"

#include "bundle/names.h"
#include "core/file.h"
#include "core/text.h"

#define FORM "PHASE:before|after:WHERE[:SECONDS]=FILE"

static const char *choices(struct kp_arena *arena, const char *const *words)
{
    const char *out = "";
    for (; *words; words++)
        out = kp_arena_printf(arena, "%s%s%s", out, *out ? ", " : "", *words);
    return out;
}

static const char *find_word(const char *const *words, struct kp_slice word)
{
    for (; *words; words++)
        if (kp_slice_equal(word, *words))
            return *words;
    return NULL;
}

static int read_where(struct kp_arena *arena, const char *text, struct kp_slice word,
                      struct kp_hook *hook, struct kp_err *err)
{
    hook->where = kp_arena_strndup(arena, word.ptr, word.len);
    if (kp_text_dns_name(hook->where, 253))
        return 0;
    return kp_fail(err, KP_USAGE, "--hook %s: '%s' is neither %s nor a node's name", text,
                   hook->where, choices(arena, kp_hook_places));
}

static int read_seconds(const char *text, struct kp_slice word, struct kp_hook *hook,
                        struct kp_err *err)
{
    hook->timeout = KP_HOOK_TIMEOUT;
    if (!word.ptr || (kp_parse_u64(word, KP_HOOK_TIMEOUT_MAX, &hook->timeout) && hook->timeout))
        return 0;
    return kp_fail(err, KP_USAGE, "--hook %s: 1 to %d seconds are needed", text,
                   KP_HOOK_TIMEOUT_MAX);
}

static int read_text(struct kp_arena *arena, const char *text, struct kp_hook *hook,
                     const char **path, struct kp_err *err)
{
    struct kp_slice rest = kp_slice_of(text), head, phase, when, where, seconds = {0};
    if (!kp_slice_cut(&rest, '=', &head) || !rest.len || !kp_slice_cut(&head, ':', &phase) ||
        !kp_slice_cut(&head, ':', &when))
        return kp_fail(err, KP_USAGE, "--hook %s: " FORM " is needed", text);
    *path = kp_arena_strndup(arena, rest.ptr, rest.len);
    if (kp_slice_cut(&head, ':', &where))
        seconds = head;
    else
        where = head;
    hook->phase = find_word(kp_hook_phases, phase);
    if (!hook->phase)
        return kp_fail(err, KP_USAGE, "--hook %s: '%.*s' is no phase; there are %s", text,
                       (int)phase.len, phase.ptr, choices(arena, kp_hook_phases));
    hook->after = kp_slice_equal(when, "after");
    if (!hook->after && !kp_slice_equal(when, "before"))
        return kp_fail(err, KP_USAGE, "--hook %s: before or after is needed, not '%.*s'", text,
                       (int)when.len, when.ptr);
    if (read_where(arena, text, where, hook, err) < 0)
        return -1;
    return read_seconds(text, seconds, hook, err);
}

/* A program for one machine only would not run on the others. */
static int check_script(const char *path, struct kp_err *err)
{
    kp_auto_free char *script = NULL;
    size_t len;
    if (kp_file_read(path, KP_HOOK_SIZE_MAX, &script, &len, err) < 0) {
        if (err)
            err->code = KP_USAGE;
        return kp_wrap(err, "--hook");
    }
    if (len > 3 && memcmp(script, "#!/", 3) == 0)
        return 0;
    return kp_fail(err, KP_USAGE, "--hook %s: a script that begins with #!/ is needed", path);
}

static const char *file_name(struct kp_arena *arena, const char *path, size_t number)
{
    char *base = kp_arena_strdup(arena, kp_path_base(path));
    for (char *p = base; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *p))
            *p = '-';
    return kp_arena_printf(arena, "hook-%zu-%.80s", number, base);
}

int kp_hook_describe(struct kp_arena *arena, const char *text, size_t number, struct kp_hook *hook,
                     struct kp_plan_file *file, struct kp_err *err)
{
    const char *path = "";
    if (read_text(arena, text, hook, &path, err) < 0 || check_script(path, err) < 0)
        return -1;
    hook->file = file_name(arena, path, number);
    *file = (struct kp_plan_file){
        .component = "hook",
        .version = "0",
        .url = kp_arena_printf(arena, "file:%s", hook->file),
        .license = "",
        .roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER | KP_ROLE_ETCD,
        .known = true,
        .checked = KP_CHECKED_LOCAL,
        .local = path,
        .install_count = 1,
        .installs = kp_arena_alloc(arena, sizeof(*file->installs)),
    };
    *file->installs = (struct kp_plan_install){
        .name = hook->file,
        .target = kp_arena_printf(arena, KP_HOOK_FOLDER "/%s", hook->file),
        .mode = 0700,
    };
    return kp_sha256_file(path, &file->digest, &file->size, err) < 0 ? kp_wrap(err, "--hook") : 0;
}
