/*
 * dbcheck.c - walk the B-trees of an LMDB file without LMDB, and believe nothing.
 *
 * What the file looks like (LMDB 0.9, data version 1, 64-bit little-endian; mdb.c: MDB_page, MDB_node, MDB_meta,
 * MDB_db):
 *
 *   page 0, 1   meta pages, written alternately by transactions: the one with the higher txnid is in force
 *   other pages branch (keys and child page numbers), leaf (keys and data), overflow (one long value in consecutive
 *               pages), or free
 *
 *   page   0 number 8  10 flags  12 lower  14 upper  16 node offsets, up to `lower` ... nodes, growing down from the end
 *          (overflow: 12 = number of pages, 32 bits)
 *   node   0 data length or child (low 32 bits)  4 flags or child (bits 32..47)  6 key length  8 key, then data
 *   db     0 pad 4  4 flags 2  6 depth 2  8 branch pages  16 leaf pages  24 overflow pages  32 entries  40 root
 *   meta   16 magic 4  20 version 4  24 address 8  32 map size 8  40 free db  88 main db  136 last page  144 txnid
 *          (page size is the free db's pad, persistent flags are the free db's flags)
 *
 * Two trees start in the meta page: the free list, and the main db, whose leaves hold the named databases' db records.
 *
 * Invariants that hold after dbcheck_image() said yes:
 *  1. every page reachable from the meta page in force lies inside the file and below or at its last page, and is
 *     reached once only;
 *  2. every such page has exactly the type its place in the tree demands, and its own number;
 *  3. every node, key, value and overflow run lies inside its page or pages;
 *  4. all leaves of a tree are at its stated depth, and its page and entry counts are as stated;
 *  5. keys are strictly ascending, within the bounds that the branch pages above them state.
 * What is not reachable (free pages, the tail of a killed writer) does not matter and is not looked at.
 */
#include "recorder/dbcheck.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define META_MAGIC 0xbeefc0deu
#define META_VERSION 1u
#define META_BYTES 152u
#define PAGE_HEADER 16u
#define NODE_HEADER 8u
#define DB_RECORD 48u
#define KEY_MAX 511u
#define DEPTH_MAX 16u /* LMDB's cursor stack holds 32 */
#define NO_PAGE UINT64_MAX

enum { P_BRANCH = 0x01, P_LEAF = 0x02, P_OVERFLOW = 0x04, P_META = 0x08 };
enum { F_BIGDATA = 0x01, F_SUBDATA = 0x02 };
enum { DBF_INTEGERKEY = 0x08, ENVF_NOSUBDIR = 0x4000 };

struct tree {
	uint16_t flags, depth;
	uint64_t branch, leaf, overflow, entries, root;
};

struct meta {
	uint32_t page_size;
	uint16_t flags;
	uint64_t last_page, txnid;
	struct tree free, main;
};

struct slice {
	const uint8_t *bytes;
	size_t len;
};

enum tree_kind { TREE_FREE, TREE_MAIN, TREE_NAMED };

struct check {
	const uint8_t *image;
	uint64_t size;
	struct meta meta;
	uint8_t *seen; /* one bit a page */
	struct vm_error *err;
};

/* One tree's walk. */
struct walk {
	struct check *check;
	enum tree_kind kind;
	const char *name;
	const struct tree *tree;
	uint64_t branch, leaf, overflow, entries; /* counted */
};

static int check_tree(struct check *c, enum tree_kind kind, const char *name, const struct tree *tree);

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static struct tree get_tree(const uint8_t *p)
{
	return (struct tree){ .flags = get16(p + 4),
		              .depth = get16(p + 6),
		              .branch = get64(p + 8),
		              .leaf = get64(p + 16),
		              .overflow = get64(p + 24),
		              .entries = get64(p + 32),
		              .root = get64(p + 40) };
}

bool dbcheck_looks_like(const uint8_t *head, size_t len)
{
	return len >= 24 && (get16(head + 10) & P_META) && get32(head + 16) == META_MAGIC;
}

static int bad_page(const struct walk *w, uint64_t page, const char *why)
{
	return vm_fail(w->check->err, -EBADMSG, "database %s, page %llu: %s", w->name, (unsigned long long)page, why);
}

/* ---- Meta pages -------------------------------------------------------------------------------------------- */

static int read_meta(const struct check *c, uint64_t offset, unsigned number, struct meta *out)
{
	const uint8_t *p = c->image + offset;

	if (offset + META_BYTES > c->size)
		return vm_fail(c->err, -EBADMSG, "the file ends inside meta page %u: truncated", number);
	if (get32(p + 16) != META_MAGIC)
		return vm_fail(c->err, -EBADMSG, "no database magic number in meta page %u", number);
	if (get32(p + 20) != META_VERSION)
		return vm_fail(c->err, -EBADMSG, "database layout version %u, expected %u", get32(p + 20), META_VERSION);
	if (get64(p) != number || get16(p + 10) != P_META)
		return vm_fail(c->err, -EBADMSG, "meta page %u has a wrong page header", number);
	*out = (struct meta){ .page_size = get32(p + 40),
		              .free = get_tree(p + 40),
		              .main = get_tree(p + 88),
		              .last_page = get64(p + 136),
		              .txnid = get64(p + 144) };
	out->flags = out->free.flags;
	out->free.flags = DBF_INTEGERKEY;
	return 0;
}

static int check_meta_fields(const struct check *c, const struct meta *m, unsigned number)
{
	if (m->page_size < 512 || m->page_size > 32768 || (m->page_size & (m->page_size - 1)))
		return vm_fail(c->err, -EBADMSG, "meta page %u: page size %u", number, m->page_size);
	if ((m->flags & ~(unsigned)(DBF_INTEGERKEY | ENVF_NOSUBDIR)) || !(m->flags & DBF_INTEGERKEY))
		return vm_fail(c->err, -EBADMSG, "meta page %u: flags 0x%x", number, m->flags);
	if (m->main.flags)
		return vm_fail(c->err, -EBADMSG, "meta page %u: main database flags 0x%x", number, m->main.flags);
	if (m->last_page < 1 || m->last_page >= (1ull << 48) / m->page_size)
		return vm_fail(c->err, -EBADMSG, "meta page %u: last page %llu", number,
		               (unsigned long long)m->last_page);
	return 0;
}

/* Transactions write the meta pages in turn, so their numbers are neighbours, and the last page only ever moves up. */
static int check_metas(struct check *c)
{
	struct meta m[2];
	const struct meta *newer, *older;
	int rc;

	rc = read_meta(c, 0, 0, &m[0]);
	rc = rc ? rc : check_meta_fields(c, &m[0], 0);
	rc = rc ? rc : read_meta(c, m[0].page_size, 1, &m[1]);
	rc = rc ? rc : check_meta_fields(c, &m[1], 1);
	if (rc)
		return rc;
	if (m[0].page_size != m[1].page_size)
		return vm_fail(c->err, -EBADMSG, "the meta pages state different page sizes");
	newer = m[1].txnid > m[0].txnid ? &m[1] : &m[0];
	older = newer == &m[1] ? &m[0] : &m[1];
	if (newer->txnid - older->txnid > 1 || (newer->txnid && (newer->txnid & 1) != (newer == &m[1])) ||
	    older->last_page > newer->last_page)
		return vm_fail(c->err, -EBADMSG, "the meta pages contradict each other (transactions %llu and %llu)",
		               (unsigned long long)m[0].txnid, (unsigned long long)m[1].txnid);
	c->meta = *newer;
	return 0;
}

/* ---- Pages ------------------------------------------------------------------------------------------------- */

/* Claims `count` pages from `page` on for this tree, and gives the first one's bytes. */
static int claim(const struct walk *w, uint64_t page, uint64_t count, const uint8_t **out)
{
	struct check *c = w->check;
	uint64_t i;

	if (page < 2 || page > c->meta.last_page || count > c->meta.last_page - page + 1)
		return bad_page(w, page, "the page number is out of range");
	if ((page + count) * c->meta.page_size > c->size)
		return bad_page(w, page, "lies beyond the end of the file: truncated");
	for (i = page; i < page + count; i++) {
		if (c->seen[i / 8] & (1u << (i % 8)))
			return bad_page(w, i, "is referred to twice");
		c->seen[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	*out = c->image + page * c->meta.page_size;
	if (get64(*out) != page)
		return bad_page(w, page, "carries another page's number");
	return 0;
}

static int check_overflow(struct walk *w, uint64_t owner, uint64_t page, uint64_t length)
{
	uint64_t page_size = w->check->meta.page_size, count = (PAGE_HEADER - 1 + length) / page_size + 1, stated;
	const uint8_t *p;
	int rc;

	if (page < 2 || page > w->check->meta.last_page || (page + 1) * page_size > w->check->size)
		return bad_page(w, owner, "a value's overflow page is out of range (truncated?)");
	stated = get32(w->check->image + page * page_size + 12);
	if (stated < count)
		return bad_page(w, page, "has fewer overflow pages than its value needs");
	rc = claim(w, page, stated, &p);
	if (rc)
		return rc;
	if (get16(p + 10) != P_OVERFLOW)
		return bad_page(w, page, "is not an overflow page");
	w->overflow += stated;
	return 0;
}

static int compare(struct slice a, struct slice b)
{
	int diff = memcmp(a.bytes, b.bytes, a.len < b.len ? a.len : b.len);

	return diff ? diff : (a.len > b.len) - (a.len < b.len);
}

/* The free list's keys are transaction numbers of 8 bytes, compared as integers. */
static bool ascending(const struct walk *w, struct slice a, struct slice b)
{
	if (w->kind == TREE_FREE)
		return get64(a.bytes) < get64(b.bytes);
	return compare(a, b) < 0;
}

/* The free list: a count, then as many page numbers in descending order. LMDB's tools read them. */
static int check_free_data(const struct walk *w, uint64_t page, const uint8_t *data, uint64_t length)
{
	uint64_t count, i;

	if (length < 8 || length % 8)
		return bad_page(w, page, "a free list of an odd length");
	count = get64(data);
	if (count > length / 8 - 1)
		return bad_page(w, page, "a free list longer than its data");
	for (i = 1; i <= count; i++) {
		uint64_t number = get64(data + 8 * i);

		if (number < 2 || number > w->check->meta.last_page || (i > 1 && number >= get64(data + 8 * (i - 1))))
			return bad_page(w, page, "a free list out of order");
	}
	return 0;
}

static int check_named(const struct walk *w, uint64_t page, struct slice key, const uint8_t *data, uint64_t length)
{
	char name[32];
	struct tree tree;

	if (length != DB_RECORD || key.len >= sizeof(name))
		return bad_page(w, page, "a record that is not a named database");
	snprintf(name, sizeof(name), "%.*s", (int)key.len, (const char *)key.bytes);
	tree = get_tree(data);
	if (tree.flags)
		return bad_page(w, page, "a named database with unexpected flags");
	return check_tree(w->check, TREE_NAMED, name, &tree);
}

static int check_leaf_node(struct walk *w, uint64_t page, const uint8_t *node, uint64_t room, struct slice key)
{
	uint64_t length = get32(node), header = NODE_HEADER + key.len;
	const uint8_t *data = node + header;
	uint16_t flags = get16(node + 4);
	uint16_t wanted = w->kind == TREE_MAIN ? F_SUBDATA : 0;
	int rc;

	w->entries++;
	if (flags == F_BIGDATA && w->kind != TREE_MAIN) {
		if (room < header + 8)
			return bad_page(w, page, "a node runs over the end of its page");
		rc = check_overflow(w, page, get64(data), length);
		if (rc)
			return rc;
		data = w->check->image + get64(data) * w->check->meta.page_size + PAGE_HEADER;
	} else if (flags != wanted) {
		return bad_page(w, page, "a node with unexpected flags");
	} else if (room < header + length) {
		return bad_page(w, page, "a node runs over the end of its page");
	}
	if (w->kind == TREE_FREE)
		return check_free_data(w, page, data, length);
	return w->kind == TREE_MAIN ? check_named(w, page, key, data, length) : 0;
}

/* The node's key, checked; an empty one is right for the first node of a branch page only. */
static int get_key(const struct walk *w, uint64_t page, const uint8_t *p, unsigned i, bool may_be_empty,
                   const uint8_t **node, uint64_t *room, struct slice *key)
{
	uint32_t page_size = w->check->meta.page_size;
	uint16_t offset = get16(p + PAGE_HEADER + 2 * i);

	if (offset < get16(p + 14) || offset % 2 || offset + NODE_HEADER > page_size)
		return bad_page(w, page, "a node's offset is out of range");
	*node = p + offset;
	*room = page_size - offset;
	*key = (struct slice){ *node + NODE_HEADER, get16(*node + 6) };
	if (NODE_HEADER + key->len > *room)
		return bad_page(w, page, "a key runs over the end of its page");
	if (may_be_empty && !key->len)
		return 0;
	if (!key->len || key->len > KEY_MAX || (w->kind == TREE_FREE && key->len != 8))
		return bad_page(w, page, "a key of an impossible length");
	return 0;
}

/* low: smallest key allowed (len 0 = none); high: first key not allowed (len 0 = none). */
static int check_page(struct walk *w, uint64_t page, unsigned level, struct slice low, struct slice high)
{
	bool leaf = level == w->tree->depth;
	unsigned lower, upper, count, i;
	const uint8_t *p, *node;
	struct slice key, next;
	uint64_t room;
	int rc;

	rc = claim(w, page, 1, &p);
	if (rc)
		return rc;
	if (get16(p + 10) != (leaf ? P_LEAF : P_BRANCH))
		return bad_page(w, page, "is not of the type its place demands");
	*(leaf ? &w->leaf : &w->branch) += 1;
	lower = get16(p + 12);
	upper = get16(p + 14);
	if (lower < PAGE_HEADER || lower % 2 || lower > upper || upper > w->check->meta.page_size)
		return bad_page(w, page, "its free space is out of range");
	count = (lower - PAGE_HEADER) / 2;
	if (count < (leaf ? 1 : 2))
		return bad_page(w, page, "has too few nodes");

	rc = get_key(w, page, p, 0, !leaf, &node, &room, &key);
	for (i = 0; !rc && i < count; i++) {
		const uint8_t *this_node = node;
		uint64_t this_room = room;
		struct slice this_key = key;

		/* the first key of a branch page is never compared: what counts is the bound from above */
		if ((leaf || i) && low.len && ascending(w, this_key, low))
			return bad_page(w, page, "a key is below the bound of the branch above");
		if ((leaf || i) && high.len && !ascending(w, this_key, high))
			return bad_page(w, page, "a key is above the bound of the branch above");
		next = high;
		if (i + 1 < count) {
			rc = get_key(w, page, p, i + 1, false, &node, &room, &key);
			if (rc)
				return rc;
			if ((leaf || i) && !ascending(w, this_key, key))
				return bad_page(w, page, "keys are not in ascending order");
			next = key;
		}
		if (leaf)
			rc = check_leaf_node(w, page, this_node, this_room, this_key);
		else
			rc = check_page(w, get32(this_node) | (uint64_t)get16(this_node + 4) << 32, level + 1,
			                i ? this_key : low, next);
	}
	return rc;
}

static int check_tree(struct check *c, enum tree_kind kind, const char *name, const struct tree *tree)
{
	struct walk w = { .check = c, .kind = kind, .name = name, .tree = tree };
	int rc;

	if (tree->root == NO_PAGE) {
		if (tree->depth || tree->entries || tree->branch || tree->leaf || tree->overflow)
			return vm_fail(c->err, -EBADMSG, "database %s: has no root but is not empty", name);
		return 0;
	}
	if (tree->depth < 1 || tree->depth > DEPTH_MAX)
		return vm_fail(c->err, -EBADMSG, "database %s: depth %u", name, tree->depth);
	rc = check_page(&w, tree->root, 1, (struct slice){ NULL, 0 }, (struct slice){ NULL, 0 });
	if (rc)
		return rc;
	if (w.branch != tree->branch || w.leaf != tree->leaf || w.overflow != tree->overflow || w.entries != tree->entries)
		return vm_fail(c->err, -EBADMSG, "database %s: its counts of pages or entries are wrong", name);
	return 0;
}

int dbcheck_image(const uint8_t *image, uint64_t size, uint64_t *map_size, struct vm_error *err)
{
	struct check c = { .image = image, .size = size, .err = err };
	uint64_t pages;
	int rc;

	if (!size)
		return vm_fail(err, -EBADMSG, "the file is empty");
	if (!dbcheck_looks_like(image, size))
		return vm_fail(err, -EBADMSG, "not a trace (no database magic number)");
	rc = check_metas(&c);
	if (rc)
		return rc;
	/* bits for the pages that are in the file: claim() looks at no other */
	pages = size / c.meta.page_size + 1;
	c.seen = calloc(pages / 8 + 1, 1);
	if (!c.seen)
		return vm_fail(err, -ENOMEM, "out of memory");
	rc = check_tree(&c, TREE_FREE, "(free list)", &c.meta.free);
	rc = rc ? rc : check_tree(&c, TREE_MAIN, "(main)", &c.meta.main);
	free(c.seen);
	if (!rc)
		*map_size = (c.meta.last_page + 1) * c.meta.page_size;
	return rc;
}

int dbcheck_file(int fd, uint64_t size, uint64_t *map_size, struct vm_error *err)
{
	void *image;
	int rc;

	if (!size)
		return vm_fail(err, -EBADMSG, "the file is empty");
	image = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (image == MAP_FAILED)
		return vm_fail(err, -errno, "cannot map the file: %s", strerror(errno));
	rc = dbcheck_image(image, size, map_size, err);
	munmap(image, size);
	return rc;
}
