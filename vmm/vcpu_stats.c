// SPDX-License-Identifier: BSD-3-Clause
// See vcpu_stats.h.
#include "vmm/vcpu_stats.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { NAME_SIZE = 256, DESCRIPTORS = 512 };

// Where the value of that name is; -1: there is none.
static off_t find(int fd, const char *name)
{
	struct kvm_stats_header head;
	struct {
		struct kvm_stats_desc desc;
		char name[NAME_SIZE];
	} d;

	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) || head.name_size > NAME_SIZE ||
		head.num_desc > DESCRIPTORS)
		return -1;
	for (uint32_t i = 0; i < head.num_desc; i++) {
		const size_t size = sizeof(d.desc) + head.name_size;

		if (pread(fd, &d, size, (off_t)(head.desc_offset + i * size)) != (ssize_t)size)
			return -1;
		if (strncmp(d.name, name, head.name_size) == 0)
			return (off_t)head.data_offset + d.desc.offset;
	}
	return -1;
}

void vcpu_stats_open(struct vcpu_stats *s, int vcpu)
{
	s->fd = ioctl(vcpu, KVM_GET_STATS_FD, NULL);
	if (s->fd < 0)
		return;
	s->halts_at = find(s->fd, "halt_exits");
	if (s->halts_at < 0)
		vcpu_stats_close(s);
}

void vcpu_stats_close(struct vcpu_stats *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

bool vcpu_stats_halts(const struct vcpu_stats *s, uint64_t *ret_halts)
{
	return s->fd >= 0 &&
	       pread(s->fd, ret_halts, sizeof(*ret_halts), s->halts_at) == sizeof(*ret_halts);
}
