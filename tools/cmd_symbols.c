/*
 * cmd_symbols.c - `ringside symbols`: a kernel's own names as an ELF file for gdb and for `ringside profile --symbols`.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "profiler/symbol_table.h"
#include "recorder/trace.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/tool.h"
#include "vmm/decode/insn.h"

#define FILE_MAX (512u << 20)
#define MSR_SYSENTER_EIP 0x176u
#define LANDMARK "entry_SYSENTER_32" /* what Linux writes there */

static const struct usage usage = {
	.command = "ringside symbols",
	.arguments = "KERNEL|SYSTEM.MAP",
	.about = "Makes an ELF symbol file for gdb, out of a System.map, or out of the names that a Linux kernel "
	         "carries for its own backtraces\n"
	         "(kallsyms): bzImage or uncompressed, 32-bit. Names of functions and data, no types and no source "
	         "lines.",
	.examples = "  ringside symbols -o vmlinux.sym build/debian/vmlinuz\n"
	            "  ringside debug --symbols vmlinux.sym boot.trace\n"
	            "  ringside symbols --for boot.trace -o vmlinux.sym build/debian/vmlinuz     (a kernel that moved "
	            "itself: no `nokaslr`)",
	.min_args = 1,
	.max_args = 1,
};

/* The whole file; free it. */
static int read_file(const char *path, uint8_t **out, size_t *len, struct vm_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	struct stat st;
	ssize_t n;

	*out = NULL;
	*len = 0;
	if (fd < 0 || fstat(fd, &st))
		rc = vm_fail(err, -errno, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		rc = vm_fail(err, -EBADMSG, "%s: not a file, or larger than %u MiB", path, FILE_MAX >> 20);
	else if (!(*out = malloc((size_t)st.st_size + 1)))
		rc = vm_fail(err, -ENOMEM, "out of memory");
	while (!rc && *len < (size_t)st.st_size && (n = read(fd, *out + *len, (size_t)st.st_size - *len)) != 0) {
		if (n < 0)
			rc = vm_fail(err, -errno, "%s: %s", path, strerror(errno));
		else
			*len += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Recognised by content. */
static int read_symbols(struct symbol_table *t, const uint8_t *file, size_t len, struct vm_error *err)
{
	uint8_t *image;
	size_t image_len;
	int rc;

	if (len >= 4 && !memcmp(file, "\177ELF", 4))
		return symbol_table_read_kallsyms(t, file, len, err);
	if (!kernel_image_is(file, len))
		return symbol_table_read_map(t, file, len, err);
	rc = kernel_image_unpack(file, len, &image, &image_len, err);
	if (!rc)
		rc = symbol_table_read_kallsyms(t, image, image_len, err);
	free(image);
	return rc;
}

/* How far the kernel of a trace moved itself: it tells the processor where a function is whose place in the image is known. */
static int find_shift(const struct symbol_table *t, const char *path, uint32_t *shift, struct vm_error *err)
{
	struct trace_cursor *cursor = NULL;
	struct trace_reader *reader;
	const struct kernel_symbol *mark = NULL;
	struct event ev;
	int rc = trace_reader_open(&reader, path, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < t->count && !mark; i++)
		if (!strcmp(t->names + t->list[i].name, LANDMARK))
			mark = &t->list[i];
	rc = mark ? trace_cursor_open(&cursor, reader, err)
	          : vm_fail(err, -EBADMSG, "%s: the kernel has no " LANDMARK, path);
	while (!rc && (rc = trace_cursor_next(cursor, &ev, NULL, err)) == 1) {
		*shift = (uint32_t)ev.value - mark->addr;
		if (ev.kind == EV_FAULT && ev.addr == MSR_SYSENTER_EIP && ev.value && ev.op == OP_WRMSR &&
		    !(*shift & 0xfff))
			break;
		rc = 0;
	}
	if (!rc)
		rc = vm_fail(err,
		             -EBADMSG, "%s: where its kernel is cannot be told: it is another kernel's, or was not recorded for long enough",
		             path);
	trace_cursor_close(cursor);
	trace_reader_close(reader);
	return rc < 0 ? rc : 0;
}

static int make_symbols(const char *path, const char *out, uint32_t shift, const char *trace)
{
	struct symbol_table table = { 0 };
	struct vm_error err, why;
	uint8_t *file;
	size_t len;
	int rc = read_file(path, &file, &len, &err);

	if (!rc) {
		rc = read_symbols(&table, file, len, &why);
		if (rc)
			vm_fail(&err, rc, "%s: %.400s", path, why.text);
	}
	free(file);
	if (!rc && trace)
		rc = find_shift(&table, trace, &shift, &err);
	if (!rc)
		rc = symbol_table_write_elf(&table, out, shift, &err);
	if (!rc && shift)
		printf("%s: %zu symbols, moved by 0x%x\n", out, table.count, shift);
	else if (!rc)
		printf("%s: %zu symbols\n", out, table.count);
	symbol_table_free(&table);
	return rc ? tool_fail(rc, &err) : TOOL_OK;
}

int cmd_symbols(int argc, const char **argv)
{
	char *out = NULL, *shift_text = NULL, *trace = NULL;
	int force = 0;
	const struct poptOption table[] = {
		{ "output", 'o', POPT_ARG_STRING, &out, 0, "The file to write", "FILE" },
		{ "force", 'f', POPT_ARG_NONE, &force, 0, "Overwrite it", NULL },
		{ "shift", 0, POPT_ARG_STRING, &shift_text, 0, "Add this to every address", "N" },
		{ "for", 0, POPT_ARG_STRING, &trace, 0, "Where the kernel of this trace moved itself to", "TRACE" },
		OPTIONS_END,
	};
	struct options options;
	uint64_t shift = 0;
	int status = options_parse(&options, argc, argv, table, &usage);

	if (status == OPTIONS_GO && !out)
		status = tool_error(TOOL_USAGE, "symbols: where to? -o FILE");
	if (status == OPTIONS_GO && shift_text && (!tool_parse_count(shift_text, &shift) || shift > UINT32_MAX))
		status = tool_error(TOOL_USAGE, "--shift %s: must be a number of 32 bits", shift_text);
	if (status == OPTIONS_GO && shift_text && trace)
		status = tool_error(TOOL_USAGE, "--shift and --for: one of them");
	if (status == OPTIONS_GO && !force && !access(out, F_OK))
		status = tool_error(TOOL_USAGE, "%s: exists already; -f overwrites it", out);
	if (status == OPTIONS_GO)
		status = make_symbols(options.args[0], out, (uint32_t)shift, trace);
	options_close(&options);
	return status;
}
