#include "worker/sdk/train_library.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#ifdef RTRAIN_VERSION
static_assert(std::string_view(RTRAIN_VERSION) == RTRAIN_SDK_VERSION, "rtrain/version.h and the project's version differ");
#endif

namespace rtrain::sdk {
namespace {

constexpr std::string_view kTagBegin = "rtrain-abi: ";

struct Entry {
  std::string tag, name;
  rtrain_train_function function;
};

std::vector<Entry>& entries() {
  static auto* all = new std::vector<Entry>;  // libraries register before main() and may be asked after it
  return *all;
}

std::string versions_of(std::string_view tag) { return std::string(tag.starts_with(kTagBegin) ? tag.substr(kTagBegin.size()) : tag); }

/// The file's bytes, mapped: dlopen() reads the same pages.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw LoadError("cannot open the training library " + path + ": " + std::strerror(errno));
    struct stat info {};
    if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
      size_ = static_cast<std::size_t>(info.st_size);
      bytes_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    ::close(fd);
    if (bytes_ == MAP_FAILED) throw LoadError("cannot read the training library " + path);
  }
  ~MappedFile() { ::munmap(bytes_, size_); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  [[nodiscard]] std::string_view bytes() const { return {static_cast<const char*>(bytes_), size_}; }

 private:
  void* bytes_ = MAP_FAILED;
  std::size_t size_ = 0;
};

std::string list_of(const std::vector<Entry>& found) {
  std::string list;
  for (const auto& entry : found) list += (list.empty() ? "" : ", ") + entry.name;
  return list;
}

}  // namespace

std::optional<std::string> abi_mismatch(std::string_view library_tag) {
  if (library_tag == RTRAIN_ABI_TAG) return std::nullopt;
  return "was built with " + versions_of(library_tag) + "; this worker is " + versions_of(RTRAIN_ABI_TAG) + ". Build it again with this rtrain";
}

std::optional<std::string> foreign_tag_in(std::string_view bytes) {
  for (auto at = bytes.find(kTagBegin); at != std::string_view::npos; at = bytes.find(kTagBegin, at + 1)) {
    const auto tag = bytes.substr(at, std::min<std::size_t>(bytes.find('\0', at), at + 300) - at);
    if (tag != RTRAIN_ABI_TAG && tag.size() > kTagBegin.size()) return std::string(tag);
  }
  return std::nullopt;
}

TrainFunction load_train_function(const std::string& library, const std::string& name) {
  // Before any of its code runs: constructors of a library built against other headers may do anything.
  if (const auto foreign = foreign_tag_in(MappedFile(library).bytes())) throw LoadError("the training library " + library + " " + *abi_mismatch(*foreign));

  const auto known = entries().size();
  if (::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) throw LoadError("cannot load the training library: " + std::string(::dlerror()));
  const std::vector<Entry> found(entries().begin() + static_cast<std::ptrdiff_t>(known), entries().end());
  for (const auto& entry : found)
    if (const auto mismatch = abi_mismatch(entry.tag)) throw LoadError("the training library " + library + " " + *mismatch);

  if (found.empty()) throw LoadError(library + " offers no training function: add RTRAIN_TRAIN_FUNCTION(your_function); to it");
  if (name.empty() && found.size() > 1)
    throw LoadError(library + " offers several training functions (" + list_of(found) + "): name one in train_func.name");
  for (const auto& entry : found) {
    if (!name.empty() && entry.name != name) continue;
    return [function = entry.function](const Config& config) {
      nlohmann::json return_value;
      function(&config, &return_value);
      return return_value;
    };
  }
  throw LoadError(library + " offers no training function \"" + name + "\"; it offers: " + list_of(found));
}

}  // namespace rtrain::sdk

extern "C" void rtrain_register_train_function(const char* abi_tag, const char* name, rtrain_train_function function) {
  rtrain::sdk::entries().push_back({abi_tag, name, function});
}
