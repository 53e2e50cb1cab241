/*
 * symbol_elf.c - symbols as an ELF file that debuggers and `ringside profile --symbols` read: a symbol table and sections without contents.
 *
 * A debugger wants to know of each symbol whether it is code: symbols are sorted, and each run of one sort, code or data, becomes a section that reaches to
 * the next run. Where sorts alternate too often to be sections, all is one section of code.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profiler/symbol_table.h"

#define RUNS_MAX 4096
#define LAST_LENGTH 4096u /* of the last symbol, whose end nothing tells */

static const char section_names[] = "\0.text\0.data\0.symtab\0.strtab\0.shstrtab";
enum { NAME_TEXT = 1, NAME_DATA = 7, NAME_SYMTAB = 13, NAME_STRTAB = 21, NAME_SHSTRTAB = 29 };

struct run {
	uint32_t start, size;
	bool code;
};

struct elf_out {
	const struct symbol_table *table;
	uint32_t shift;
	struct run *run;
	size_t runs;
	Elf32_Sym *sym;
	size_t syms;
	char *names;
	size_t names_len;
};

static int by_address(const void *a, const void *b)
{
	const struct kernel_symbol *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

static bool is_code(const struct kernel_symbol *s)
{
	return strchr("tTwWi", s->type) != NULL;
}

static bool is_absolute(const struct kernel_symbol *s)
{
	return s->type == 'a' || s->type == 'A';
}

static size_t count_runs(const struct symbol_table *t)
{
	size_t n = 0;
	int last = -1;

	for (size_t i = 0; i < t->count; i++) {
		if (is_absolute(&t->list[i]))
			continue;
		n += is_code(&t->list[i]) != last;
		last = is_code(&t->list[i]);
	}
	return n;
}

/* Where the next symbol that is not at the same address begins. */
static uint32_t end_of(const struct symbol_table *t, size_t i)
{
	uint32_t addr = t->list[i].addr;

	for (size_t k = i + 1; k < t->count; k++)
		if (t->list[k].addr != addr && !is_absolute(&t->list[k]))
			return t->list[k].addr;
	return addr < UINT32_MAX - LAST_LENGTH ? addr + LAST_LENGTH : UINT32_MAX;
}

static void add_symbol(struct elf_out *o, const struct kernel_symbol *s, uint32_t end)
{
	bool code = is_code(s), local = s->type >= 'a' && s->type <= 'z' && s->type != 'w';

	o->sym[o->syms++] = (Elf32_Sym){
		.st_name = s->name + 1,
		.st_value = s->addr + (is_absolute(s) ? 0 : o->shift),
		.st_size = is_absolute(s) ? 0 : end - s->addr,
		.st_info = ELF32_ST_INFO(local ? STB_LOCAL : STB_GLOBAL, code             ? STT_FUNC
		                                                         : is_absolute(s) ? STT_NOTYPE
		                                                                          : STT_OBJECT),
		.st_shndx = is_absolute(s) ? SHN_ABS : (Elf32_Half)o->runs, /* sections of runs come first, from 1 on */
	};
}

static void place(struct elf_out *o, size_t i, bool one_run)
{
	const struct kernel_symbol *s = &o->table->list[i];
	uint32_t end = end_of(o->table, i);

	if (!is_absolute(s)) {
		struct run *last = o->runs ? &o->run[o->runs - 1] : NULL;

		if (!last || (!one_run && last->code != is_code(s))) {
			last = &o->run[o->runs++];
			*last = (struct run){ .start = s->addr, .code = one_run || is_code(s) };
		}
		last->size = end - last->start;
	}
	add_symbol(o, s, end);
}

/* ELF wants local symbols first. Returns how many are. */
static size_t locals_first(struct elf_out *o)
{
	Elf32_Sym *sorted = calloc(o->syms, sizeof(*sorted));
	size_t n = 0, locals;

	if (!sorted)
		return 0;
	for (size_t i = 0; i < o->syms; i++)
		if (ELF32_ST_BIND(o->sym[i].st_info) == STB_LOCAL)
			sorted[n++] = o->sym[i];
	locals = n;
	for (size_t i = 0; i < o->syms; i++)
		if (ELF32_ST_BIND(o->sym[i].st_info) != STB_LOCAL)
			sorted[n++] = o->sym[i];
	free(o->sym);
	o->sym = sorted;
	return locals;
}

/* ---- libelf ------------------------------------------------------------------------------------------------ */

static Elf_Scn *add_section(Elf *elf, const Elf32_Shdr *header, void *bytes, size_t len, Elf_Type type)
{
	Elf_Scn *section = elf_newscn(elf);
	Elf_Data *data = section ? elf_newdata(section) : NULL;
	Elf32_Shdr *h = data ? elf32_getshdr(section) : NULL;

	if (!h)
		return NULL;
	*data = (Elf_Data){ .d_buf = bytes, .d_type = type, .d_version = EV_CURRENT, .d_size = len, .d_align = 4 };
	*h = *header;
	h->sh_size = (Elf32_Word)len;
	return section;
}

static bool add_runs(Elf *elf, const struct elf_out *o)
{
	for (size_t i = 0; i < o->runs; i++) {
		const Elf32_Shdr header = {
			.sh_name = o->run[i].code ? NAME_TEXT : NAME_DATA,
			.sh_type = SHT_NOBITS,
			.sh_flags = SHF_ALLOC | (o->run[i].code ? SHF_EXECINSTR : SHF_WRITE),
			.sh_addr = o->run[i].start + o->shift,
			.sh_addralign = 1,
		};

		if (!add_section(elf, &header, NULL, o->run[i].size, ELF_T_BYTE))
			return false;
	}
	return true;
}

static bool add_tables(Elf *elf, struct elf_out *o, size_t locals)
{
	const Elf32_Shdr strtab = { .sh_name = NAME_STRTAB, .sh_type = SHT_STRTAB, .sh_addralign = 1 };
	const Elf32_Shdr shstrtab = { .sh_name = NAME_SHSTRTAB, .sh_type = SHT_STRTAB, .sh_addralign = 1 };
	Elf32_Shdr symtab = {
		.sh_name = NAME_SYMTAB, .sh_type = SHT_SYMTAB, .sh_addralign = 4, .sh_entsize = sizeof(Elf32_Sym)
	};
	Elf_Scn *strings = add_section(elf, &strtab, o->names, o->names_len, ELF_T_BYTE), *last;

	symtab.sh_info = (Elf32_Word)locals;
	symtab.sh_link = strings ? (Elf32_Word)elf_ndxscn(strings) : 0;
	if (!strings || !add_section(elf, &symtab, o->sym, o->syms * sizeof(*o->sym), ELF_T_SYM))
		return false;
	last = add_section(elf, &shstrtab, (char *)(uintptr_t)section_names, sizeof(section_names), ELF_T_BYTE);
	if (!last)
		return false;
	elf32_getehdr(elf)->e_shstrndx = (Elf32_Half)elf_ndxscn(last);
	return true;
}

static bool write_elf(int fd, struct elf_out *o, size_t locals)
{
	Elf *elf = elf_version(EV_CURRENT) == EV_NONE ? NULL : elf_begin(fd, ELF_C_WRITE, NULL);
	Elf32_Ehdr *header = elf ? elf32_newehdr(elf) : NULL;
	bool ok = header != NULL;

	if (ok) {
		header->e_ident[EI_DATA] = ELFDATA2LSB;
		header->e_type = ET_EXEC;
		header->e_machine = EM_386;
		header->e_version = EV_CURRENT;
		ok = add_runs(elf, o) && add_tables(elf, o, locals) && elf_update(elf, ELF_C_WRITE) > 0;
	}
	elf_end(elf);
	return ok;
}

static bool prepare(struct elf_out *o, size_t *locals)
{
	const struct symbol_table *t = o->table;
	size_t runs = count_runs(t);
	bool one_run = runs > RUNS_MAX;

	o->run = calloc(one_run ? 1 : runs + 1, sizeof(*o->run));
	o->sym = calloc(t->count + 1, sizeof(*o->sym));
	o->names = malloc(t->names_len + 1);
	if (!o->run || !o->sym || !o->names)
		return false;
	o->names[0] = 0;
	memcpy(o->names + 1, t->names, t->names_len);
	o->names_len = t->names_len + 1;
	o->syms = 1; /* the null symbol, which is local */
	for (size_t i = 0; i < t->count; i++)
		place(o, i, one_run);
	*locals = locals_first(o);
	return *locals > 0;
}

int symbol_table_write_elf(struct symbol_table *t, const char *path, uint32_t shift, struct vm_error *err)
{
	struct elf_out o = { .table = t, .shift = shift };
	size_t locals = 0;
	int fd, rc = 0;

	qsort(t->list, t->count, sizeof(*t->list), by_address);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return vm_fail(err, -errno, "%s: %s", path, strerror(errno));
	if (!prepare(&o, &locals))
		rc = vm_fail(err, -ENOMEM, "out of memory");
	else if (!write_elf(fd, &o, locals))
		rc = vm_fail(err, -EIO, "%s: %s", path, elf_errmsg(-1));
	if (close(fd) && !rc)
		rc = vm_fail(err, -errno, "%s: %s", path, strerror(errno));
	if (rc)
		unlink(path);
	free(o.run);
	free(o.sym);
	free(o.names);
	return rc;
}
