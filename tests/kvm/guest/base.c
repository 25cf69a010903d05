// SPDX-License-Identifier: BSD-3-Clause
// What a freestanding program lacks: see base.h.
#include <stdarg.h>
#include "base.h"
#include "cpu.h"
#include "io.h"

enum { COM1 = 0x3f8, LINE_STATUS = 5, HOLDING_EMPTY = 0x20, PATIENCE = 100000 };

static uint8_t memory[12 << 20] __attribute__((aligned(4096)));
static size_t memory_used;

void *memcpy(void *to, const void *from, size_t size)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	if ((uintptr_t)to - (uintptr_t)from >= size)
		return memcpy(to, from, size);
	for (uint8_t *t = to; size > 0; size--)
		t[size - 1] = ((const uint8_t *)from)[size - 1];
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(byte) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < size; i++) {
		if (x[i] != y[i])
			return x[i] - y[i];
	}
	return 0;
}

size_t strlen(const char *s)
{
	size_t length = 0;

	while (s[length])
		length++;
	return length;
}

bool text_equal(const char *a, const char *b)
{
	size_t length = strlen(a);

	return length == strlen(b) && memcmp(a, b, length) == 0;
}

void *memory_take(size_t size, size_t align)
{
	size_t start = (memory_used + align - 1) & ~(align - 1);

	if (size > sizeof(memory) || start > sizeof(memory) - size) {
		say("fail memory: %lu bytes wanted", size);
		cpu_end(false);
	}
	memory_used = start + size;
	return memory + start;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

bool number_of(const char *text, uint64_t *ret_number, const char **ret_end)
{
	int base = text[0] == '0' && text[1] == 'x' ? 16 : 10;
	const char *at = base == 16 ? text + 2 : text;
	uint64_t number = 0;

	if (digit_of(*at) >= base)
		return false;
	for (; digit_of(*at) < base; at++)
		number = number * (unsigned)base + (unsigned)digit_of(*at);
	*ret_number = number;
	*ret_end = at;
	return true;
}

static char cmdline[2048 + 64]; // a key is shorter than 64

void cmdline_init(const char *text)
{
	size_t i = 0;

	for (; i < 2046 && text[i]; i++)
		cmdline[i] = text[i] == ' ' ? 0 : text[i];
	cmdline[i] = 0;
}

const char *cmdline_get(const char *key)
{
	size_t length = strlen(key);

	for (const char *at = cmdline; at < cmdline + 2047; at += strlen(at) + 1) {
		if (memcmp(at, key, length) == 0 && (at[length] == '=' || at[length] == 0))
			return at + length + (at[length] == '=');
	}
	return NULL;
}

uint64_t cmdline_number(const char *key, uint64_t otherwise)
{
	const char *value = cmdline_get(key), *end;

	if (value)
		number_of(value, &otherwise, &end);
	return otherwise;
}

struct text {
	char *at;
	size_t size, length;
};

static void text_put(struct text *t, char c)
{
	if (t->length + 1 < t->size)
		t->at[t->length++] = c;
}

static void text_put_number(
	struct text *t, uint64_t number, unsigned base, unsigned width, char fill)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number > 0);
	for (; width > n; width--)
		text_put(t, fill);
	while (n > 0)
		text_put(t, digits[--n]);
}

static void text_put_signed(struct text *t, int64_t number, unsigned width, char fill)
{
	if (number < 0)
		text_put(t, '-');
	text_put_number(t, number < 0 ? -(uint64_t)number : (uint64_t)number, 10, width, fill);
}

// What follows a '%'; returns its last character.
static const char *text_put_argument(struct text *t, const char *format, va_list *args)
{
	char fill = *format == '0' ? '0' : ' ';
	unsigned width = 0;
	bool is_long = false;

	for (; *format >= '0' && *format <= '9'; format++)
		width = width * 10 + (unsigned)(*format - '0');
	for (; *format == 'l'; format++)
		is_long = true;
	if (*format == 's') {
		for (const char *s = va_arg(*args, const char *); *s; s++)
			text_put(t, *s);
	} else if (*format == 'c') {
		text_put(t, (char)va_arg(*args, int));
	} else if (*format == 'd') {
		text_put_signed(t, is_long ? va_arg(*args, long) : va_arg(*args, int), width, fill);
	} else if (*format == 'u' || *format == 'x') {
		uint64_t n = is_long ? va_arg(*args, unsigned long) : va_arg(*args, unsigned);

		text_put_number(t, n, *format == 'u' ? 10 : 16, width, fill);
	} else {
		text_put(t, *format);
	}
	return format;
}

static size_t text_format_list(char *buffer, size_t size, const char *format, va_list *args)
{
	struct text t = { .at = buffer, .size = size };

	for (; *format; format++) {
		if (*format == '%' && format[1])
			format = text_put_argument(&t, format + 1, args);
		else
			text_put(&t, *format);
	}
	buffer[t.length] = 0;
	return t.length;
}

size_t text_format(char *buffer, size_t size, const char *format, ...)
{
	va_list args;
	size_t length;

	va_start(args, format);
	length = text_format_list(buffer, size, format, &args);
	va_end(args);
	return length;
}

static void serial_put(char c)
{
	for (int i = 0; i < PATIENCE && !(in8(COM1 + LINE_STATUS) & HOLDING_EMPTY); i++)
		;
	out8(COM1, (uint8_t)c);
}

void say(const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	text_format_list(line, sizeof(line), format, &args);
	va_end(args);
	for (const char *c = line; *c; c++)
		serial_put(*c);
	serial_put('\r');
	serial_put('\n');
}

static uint64_t splitmix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

void pattern_fill(uint8_t *to, size_t size, uint64_t seed, uint64_t offset)
{
	uint64_t word = 0;

	for (size_t i = 0; i < size; i++) {
		uint64_t at = offset + i;

		if (i == 0 || at % 8 == 0)
			word = splitmix64(seed + at / 8);
		to[i] = (uint8_t)(word >> at % 8 * 8);
	}
}

uint32_t crc32(uint32_t crc, const void *data, size_t size)
{
	static const uint32_t of_nibble[16] = { 0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8,
		0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
	const uint8_t *at = data;

	crc = ~crc;
	for (size_t i = 0; i < size; i++) {
		crc ^= at[i];
		crc = crc >> 4 ^ of_nibble[crc & 15];
		crc = crc >> 4 ^ of_nibble[crc & 15];
	}
	return ~crc;
}
