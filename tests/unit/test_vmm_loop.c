// SPDX-License-Identifier: BSD-3-Clause
// The device thread's loop: sources that come and go while it runs, also from within their own
// functions and from other threads; its end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "vmm/loop.h"

struct watched {
	struct loop_source source;
	struct loop *loop;
	struct watched *other; // removed by this one's function; NULL: none
	unsigned int n_calls, last; // after so many calls the loop ends
	uint32_t events;
	bool leave_it; // what is readable stays so
};

static void ready(void *arg, uint32_t events)
{
	struct watched *w = arg;
	uint64_t count;

	w->n_calls++;
	w->events = events;
	if (!w->leave_it)
		assert_int_equal(read(w->source.fd, &count, sizeof(count)), sizeof(count));
	if (w->other) {
		loop_remove(w->loop, &w->other->source);
		w->other = NULL;
	}
	if (w->n_calls == w->last)
		loop_stop(w->loop);
}

static void watch(struct watched *w, struct loop *l, unsigned int count)
{
	*w = (struct watched){ .loop = l, .last = 1 };
	w->source = (struct loop_source){
		.fd = eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK), .ready = ready, .arg = w
	};
	assert_true(w->source.fd >= 0);
	assert_int_equal(loop_add(l, &w->source, EPOLLIN), 0);
}

static void signal_it(struct watched *w)
{
	const uint64_t one = 1;

	assert_int_equal(write(w->source.fd, &one, sizeof(one)), sizeof(one));
}

static void events(void **state)
{
	struct watched w;
	struct loop l;

	assert_int_equal(loop_init(&l), 0);
	watch(&w, &l, 1);
	assert_int_equal(loop_add(&l, &w.source, EPOLLIN), -EEXIST);
	assert_int_equal(loop_run(&l), 0);
	assert_int_equal(w.n_calls, 1);
	assert_int_equal(w.events, EPOLLIN);
	close(w.source.fd);
	assert_int_equal(loop_add(&l, &w.source, EPOLLIN), -EBADF);
	loop_free(&l);
}

// Of two that are ready the first removes the other, which is not called any more.
static void removed_while_ready(void **state)
{
	struct watched a, b;
	struct loop l;

	assert_int_equal(loop_init(&l), 0);
	watch(&a, &l, 1);
	watch(&b, &l, 1);
	a.other = &b;
	b.other = &a;
	assert_int_equal(loop_run(&l), 0);
	assert_int_equal(a.n_calls + b.n_calls, 1);
	close(a.source.fd);
	close(b.source.fd);
	loop_free(&l);
}

// What a source does not take it is told of again; it may remove itself.
static void again_and_itself(void **state)
{
	struct watched w, end;
	struct loop l;

	assert_int_equal(loop_init(&l), 0);
	watch(&w, &l, 1);
	watch(&end, &l, 0);
	w.leave_it = true;
	w.last = 3;
	assert_int_equal(loop_run(&l), 0);
	assert_true(w.n_calls >= 3); // the stop is an event among others
	w.n_calls = 0;
	loop_free(&l);
	assert_int_equal(loop_init(&l), 0);
	assert_int_equal(loop_add(&l, &w.source, EPOLLIN), 0);
	assert_int_equal(loop_add(&l, &end.source, EPOLLIN), 0);
	w.other = &w;
	w.last = 0;
	signal_it(&end);
	assert_int_equal(loop_run(&l), 0);
	assert_true(w.n_calls <= 1);
	assert_int_equal(end.n_calls, 1);
	close(w.source.fd);
	close(end.source.fd);
	loop_free(&l);
}

static void modified(void **state)
{
	struct watched w, end;
	struct loop l;

	assert_int_equal(loop_init(&l), 0);
	watch(&w, &l, 1);
	watch(&end, &l, 1);
	assert_int_equal(loop_modify(&l, &w.source, 0), 0);
	assert_int_equal(loop_run(&l), 0);
	assert_int_equal(w.n_calls, 0);
	loop_free(&l); // a stop is for good
	assert_int_equal(loop_init(&l), 0);
	assert_int_equal(loop_add(&l, &w.source, 0), 0);
	assert_int_equal(loop_modify(&l, &w.source, EPOLLIN), 0);
	assert_int_equal(loop_run(&l), 0);
	assert_int_equal(w.n_calls, 1);
	close(w.source.fd);
	close(end.source.fd);
	loop_free(&l);
}

static void *add_from_outside(void *arg)
{
	struct watched *w = arg;

	assert_int_equal(loop_add(w->loop, &w->source, EPOLLIN), 0);
	signal_it(w);
	return NULL;
}

// A loop that waits already sees what another thread adds.
static void other_threads(void **state)
{
	struct watched w;
	struct loop l;
	pthread_t thread;

	assert_int_equal(loop_init(&l), 0);
	watch(&w, &l, 0);
	loop_remove(&l, &w.source);
	assert_int_equal(pthread_create(&thread, NULL, add_from_outside, &w), 0);
	assert_int_equal(loop_run(&l), 0);
	assert_int_equal(w.n_calls, 1);
	pthread_join(thread, NULL);
	close(w.source.fd);
	loop_free(&l);
}

// Before everything else, and however often it is said.
static void stopped_before(void **state)
{
	struct loop l;

	assert_int_equal(loop_init(&l), 0);
	for (int i = 0; i < 3; i++)
		loop_stop(&l);
	assert_int_equal(loop_run(&l), 0);
	loop_free(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(events),
		cmocka_unit_test(removed_while_ready), cmocka_unit_test(again_and_itself),
		cmocka_unit_test(modified), cmocka_unit_test(other_threads),
		cmocka_unit_test(stopped_before) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
