/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of the inventory, each one row: its name, what it may hold, what holds where it is
 * missing, what is said of it, and where in the struct it goes. Reading, `kinstall explain` and the
 * tables of docs/inventory.md come from the same rows (install/inventory/keys_table.c).
 */
#pragma once

#include "core/buf.h"
#include "manifests/yaml.h"

struct kp_inventory;
struct kp_section;

enum kp_key_type {
    KP_KEY_TEXT,   /* const char *; `good` judges it */
    KP_KEY_PATH,   /* const char *: of the admin host; ~/… of the home folder, others beneath the
                      inventory's */
    KP_KEY_NUMBER, /* unsigned, least..most */
    KP_KEY_SIZE,   /* uint64_t of bytes ("2GiB"), least..most */
    KP_KEY_BOOL,   /* bool */
    KP_KEY_WORD,   /* one of words: a bool or unsigned, which becomes least + the word's index */
    KP_KEY_TEXTS,  /* const char **, ended by NULL; at most `most`; `good` judges each */
    KP_KEY_PAIRS,  /* struct kp_pair *: a mapping of texts; `good` judges keys, good_value values */
    KP_KEY_SECTION, /* a mapping whose keys are those of `section`, in the same struct */
    KP_KEY_LIST,    /* an array of section's structs, out of a list of mappings */
    KP_KEY_NAMED,   /* the same out of a mapping name -> mapping; `good` judges the names */
    KP_KEY_OWN,     /* what `read` makes of it */
};

struct kp_pair {
    const char *key, *value;
};

/* What a reading of an inventory carries along. */
struct kp_reading {
    struct kp_inventory *inventory;
    struct kp_arena *arena; /* of all texts that are kept */
    const char *folder;     /* relative paths are beneath it */
    struct kp_err *err;
};

struct kp_key {
    const char *name;
    enum kp_key_type type;
    bool required;
    size_t offset, size, count; /* of the member, in it, and of the size_t that counts; KP_AT() */
    uint64_t least, most;       /* of numbers and sizes; most: of elements, too */
    const char *fallback;       /* what holds where it is missing, as one would write it; or NULL */
    const char *const *words;   /* ended by NULL */
    bool (*good)(const char *text);
    const char *need; /* "a network (like …)": "X is not " stands before it */
    bool (*good_value)(const char *text);
    const char *need_value;
    const struct kp_section *section;
    int (*read)(const struct kp_key *key, const struct kp_reading *reading,
                const struct kp_yaml *value, void *into);
    const char *what;  /* in Markdown, one line */
    const char *shown; /* the default's column, where it is not the fallback */
};
#define KP_AT(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)
#define KP_AT_COUNTED(type, member, number)                                                        \
    .offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member),                      \
    .count = offsetof(type, number)

struct kp_section {
    const char *name; /* of its table in docs/inventory.md; NULL: rows "vip.address" of its owner */
    const struct kp_key *keys; /* ended by .name = NULL */
    size_t size;               /* of an element of KP_KEY_LIST and KP_KEY_NAMED */
    /* Of such an element, before its keys are read and after: name is its key, or NULL. */
    void (*begin)(const struct kp_reading *reading, const char *name, const struct kp_yaml *map,
                  void *into);
    int (*done)(const struct kp_reading *reading, const struct kp_yaml *map, void *into);
};

/* Puts what holds where nothing is said; sections within, too. into is zeroed before. */
void kp_keys_defaults(const struct kp_section *section, void *into);
/* Puts what the map says (NULL: nothing is changed); what it does not name stays as it is. A key
 * that is not in the table is refused, with the nearest that is. Errors: hosts.yaml:14:7: … */
KP_CHECK int kp_keys_read(const struct kp_section *section, const struct kp_reading *reading,
                          const struct kp_yaml *map, void *into);

extern const struct kp_section kp_keys_root, kp_keys_ssh;

/* The section that has a table of its own by this name; NULL where none. "inventory": the root. */
const struct kp_section *kp_keys_section(const char *name);
/* Adds the rows "| `key` | what | default |" of a section. */
void kp_keys_markdown(const struct kp_section *section, struct kp_buf *out);
/* Calls visit for each key of the inventory with its whole name, "nodes[].ssh.user". */
typedef void kp_keys_visit(void *user, const char *path, const struct kp_key *key);
void kp_keys_each(kp_keys_visit *visit, void *user);
/* "text", "number, 1-200", "one of a, b"; kp_free. */
char *kp_key_kind(const struct kp_key *key);
/* What holds where the key is missing, in Markdown; kp_free. */
char *kp_key_default(const struct kp_key *key);
