// Preloaded into user-mode Linux, whose buffer for a process's vector registers (2696 bytes) is smaller than what processors with
// AMX have: the host's kernel hands out what fits, and refuses to take less than the whole back (EFAULT). What lies beyond the
// buffer is taken from the process itself, so that everything up to AVX-512 is carried as on other machines.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <cstdarg>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

using Ptrace = long (*)(int, pid_t, void *, void *);

extern "C" long ptrace(__ptrace_request request, ...) noexcept {
    static const Ptrace real = reinterpret_cast<Ptrace>(dlsym(RTLD_NEXT, "ptrace"));
    static char whole[1 << 16];
    va_list rest;
    va_start(rest, request);
    const pid_t process = va_arg(rest, pid_t);
    void *const address = va_arg(rest, void *);
    void *const data = va_arg(rest, void *);
    va_end(rest);
    if (request == PTRACE_SETREGSET && reinterpret_cast<unsigned long>(address) == NT_X86_XSTATE) {
        const iovec *given = static_cast<const iovec *>(data);
        iovec all = {whole, sizeof whole};
        if (real(PTRACE_GETREGSET, process, address, &all) == -1) return -1;
        if (given->iov_len < all.iov_len) {
            std::memcpy(whole, given->iov_base, given->iov_len);
            return real(PTRACE_SETREGSET, process, address, &all);
        }
    }
    return real(request, process, address, data);
}
