#include "worker/data/file_bytes.h"

#include <rtrain/data/image_io.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace rtrain::data {
namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path)
      : number(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int number;
};

}  // namespace

std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path) {
  const auto fail = [] { throw SampleError(std::string("could not be read: ") + std::strerror(errno)); };
  const Descriptor file(path);
  struct stat status {};
  if (file.number < 0 || ::fstat(file.number, &status) != 0) fail();
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t got = 0;
  while (got < bytes.size()) {
    const auto count = ::read(file.number, bytes.data() + got, bytes.size() - got);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail();
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  bytes.resize(got);
  return bytes;
}

MappedFile::MappedFile(const std::filesystem::path& path, Access access) {
  const auto fail = [&] {
    throw std::runtime_error(path.string() + ": could not be read: " + std::strerror(errno));
  };
  const Descriptor file(path);
  struct stat status {};
  if (file.number < 0 || ::fstat(file.number, &status) != 0) fail();
  if (S_ISDIR(status.st_mode)) {
    errno = EISDIR;
    fail();
  }
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;
  const bool writes = access == Access::kCopyOnWrite;
  void* const address = ::mmap(nullptr, size_, writes ? PROT_READ | PROT_WRITE : PROT_READ,
                               writes ? MAP_PRIVATE : MAP_SHARED, file.number, 0);
  if (address == MAP_FAILED) fail();
  data_ = static_cast<const std::uint8_t*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::uint8_t*>(data_), size_);
}

}  // namespace rtrain::data
