// c10d's TCPStore asks the name service for the name of every peer that connects, for a log line that nobody
// reads, on the one thread that serves all ranks. A lost DNS packet then holds up the whole start by the
// resolver's 5 s. Neither of its two servers nor its client can be told not to. So this library answers
// LibTorch's getnameinfo() by the numeric address; all other callers get the C library's own.
#include <dlfcn.h>
#include <netdb.h>

#include <string_view>

namespace {

bool is_libtorch(void* caller) {
  Dl_info info{};
  return ::dladdr(caller, &info) != 0 && info.dli_fname != nullptr &&
         std::string_view(info.dli_fname).find("libtorch_cpu") != std::string_view::npos;
}

}  // namespace

// Visible, and found before the C library's: programs name this library first, directly or as a dependency.
extern "C" __attribute__((visibility("default"))) int getnameinfo(const sockaddr* address, socklen_t length,
                                                                  char* host, socklen_t host_size,
                                                                  char* service, socklen_t service_size,
                                                                  int flags) {
  using Function = int (*)(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int);
  static const auto next = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getnameinfo"));
  if (next == nullptr) return EAI_SYSTEM;
  if (is_libtorch(__builtin_return_address(0))) flags |= NI_NUMERICHOST;
  return next(address, length, host, host_size, service, service_size, flags);
}
