/*
 * guest_files.c - see guest_files.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/guest_files.h"
#include "tools/tool.h"
#include "vmm/digest.h"
#include "vmm/load/load.h"

struct guest_files {
	struct guest_image image;
	uint8_t *data[TRACE_MAX_FILES];
	struct trace_meta_file *files;
	uint32_t count;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Read one more file; its bytes live until guest_files_free. */
static int add_file(struct guest_files *g, const char *role, const char *path, const uint8_t **data, size_t *len,
                    struct vm_error *err)
{
	struct trace_meta_file *file;
	uint8_t *bytes;
	int rc;

	if (g->count == TRACE_MAX_FILES)
		return vm_fail(err, -E2BIG, "%s: %s: at most %d files", role, path, TRACE_MAX_FILES);
	rc = guest_file_read(role, path, GUEST_FILE_MAX, &bytes, len, err);
	if (rc)
		return rc;
	file = &g->files[g->count];
	snprintf(file->role, sizeof(file->role), "%s", role);
	snprintf(file->name, sizeof(file->name), "%s", base_name(path));
	file->bytes = *len;
	file->hash = digest64(bytes, *len, 0);
	g->data[g->count++] = bytes;
	*data = bytes;
	return 0;
}

/* "FILE ARGS": the module's command line is all of it, its file the first word. */
static int add_module(struct guest_files *g, const char *text, struct vm_error *err)
{
	struct guest_module *module = &g->image.modules[g->image.module_count];
	char path[4096];
	size_t len = strcspn(text, " ");

	if (g->image.module_count == GUEST_MODULES_MAX)
		return vm_fail(err, -E2BIG, "module: %s: at most %d modules", text, GUEST_MODULES_MAX);
	if (len >= sizeof(path))
		return vm_fail(err, -ENAMETOOLONG, "module: file name too long");
	memcpy(path, text, len);
	path[len] = 0;
	module->name = text;
	g->image.module_count++;
	return add_file(g, "module", path, &module->data, &module->len, err);
}

static int read_files(struct guest_files *g, const struct machine_options *m, const char *guest, struct vm_error *err)
{
	int rc = add_file(g, "kernel", guest, &g->image.kernel, &g->image.kernel_len, err);

	if (!rc && m->initrd)
		rc = add_file(g, "initrd", m->initrd, &g->image.initrd, &g->image.initrd_len, err);
	for (char **module = m->modules; !rc && module && *module; module++)
		rc = add_module(g, *module, err);
	g->image.cmdline = m->append;
	return rc;
}

/* The loader speaks of parts ("kernel: ..."); a person wants to know of which file. */
static int load_named(struct vm *vm, const struct guest_image *image, const char *guest, struct guest_info *info,
                      struct vm_error *err)
{
	struct vm_error why;
	int rc = guest_load(vm_vcpu(vm), image, info, &why);

	return rc ? vm_fail(err, rc, "%s: %.400s", guest, why.text) : 0;
}

int guest_files_load(struct vm *vm, const struct machine_options *m, const char *guest,
                     struct trace_meta_file files[TRACE_MAX_FILES], uint32_t *file_count, struct vm_error *err)
{
	struct guest_files g = { .files = files };
	struct guest_info info;
	int rc = read_files(&g, m, guest, err);

	if (!rc)
		rc = load_named(vm, &g.image, guest, &info, err);
	if (!rc && *info.note)
		tool_error(0, "note: %s", info.note);
	for (uint32_t i = 0; i < g.count; i++)
		free(g.data[i]);
	*file_count = g.count;
	return rc;
}
