#include <rtrain/safetensors.h>

#include "common/base/crc32c.h"
#include "proto/tensors/safetensors_header.h"
#include "worker/checkpoint/checked_file.h"
#include "worker/checkpoint/scalar_types.h"

#include <ATen/ops/empty.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace rtrain {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian numbers");

using checkpoint::dtype_of;
using tensors::Checksum;
using tensors::Dtype;
constexpr auto kHeaderBytesMax = tensors::kSafetensorsHeaderBytesMax;
constexpr std::size_t kPieceBytes = 1u << 20;  ///< stays in a cache between the checksum and the system call

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error(path.string() + ": " + why);
}
[[noreturn]] void fail_errno(const std::filesystem::path& path, const std::string& what) {
  const int error = errno;
  fail(path, what + ": " + std::strerror(error));
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// ---- writing

void write_all(int fd, const void* data, std::size_t size, Crc32c& crc, const std::filesystem::path& path) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    const auto wrote = ::write(fd, at, std::min(size, kPieceBytes));
    if (wrote < 0) {
      if (errno == EINTR) continue;
      fail_errno(path, "could not write");
    }
    crc.add({at, static_cast<std::size_t>(wrote)});
    at += wrote;
    size -= static_cast<std::size_t>(wrote);
  }
}

struct Entry {
  std::string name;
  const Dtype* dtype;
  torch::Tensor tensor;
};

std::vector<Entry> entries_of(const std::filesystem::path& path, const SafeTensors& content) {
  std::vector<Entry> entries;
  entries.reserve(content.tensors.size());
  for (const auto& [name, tensor] : content.tensors) {
    if (!tensor.defined()) fail(path, "tensor \"" + name + "\" is undefined");
    const auto* dtype = dtype_of(tensor.scalar_type());
    if (dtype == nullptr || tensor.layout() != at::kStrided) {
      fail(path, "tensor \"" + name + "\" cannot be represented: " +
                     std::string(c10::toString(tensor.scalar_type())) + ", " + c10::str(tensor.layout()));
    }
    entries.push_back({name, dtype, tensor.detach()});
  }
  // Wide types first: with a header padded to 8 bytes every tensor lies at a multiple of its element size.
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.tensor.element_size() > b.tensor.element_size();
  });
  return entries;
}

std::string head_of(const std::filesystem::path& path, const std::vector<Entry>& entries,
                    const SafeTensors& content) {
  tensors::SafetensorsHeader header;
  header.metadata = content.metadata;
  std::uint64_t offset = 0;
  for (const auto& entry : entries) {
    const auto end = offset + static_cast<std::uint64_t>(entry.tensor.numel() * entry.tensor.element_size());
    header.tensors.push_back({entry.name, entry.dtype, entry.tensor.sizes().vec(), offset, end});
    offset = end;
  }
  try {
    return tensors::safetensors_head(header);
  } catch (const std::runtime_error& wrong) {
    fail(path, wrong.what());
  }
}

// ---- reading

/// In the order of the file, so that `crc` is that of the file in the end.
void read_exactly(int fd, void* into, std::size_t size, std::uint64_t at, Crc32c& crc,
                  const std::filesystem::path& path) {
  auto* next = static_cast<char*>(into);
  while (size > 0) {
    const auto got = ::pread(fd, next, std::min(size, kPieceBytes), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno(path, "could not read");
    if (got == 0) fail(path, "the file got shorter while it was read");
    crc.add({next, static_cast<std::size_t>(got)});
    next += got;
    at += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
}

}  // namespace

bool is_storable(torch::ScalarType type) { return dtype_of(type) != nullptr; }

void save_safetensors(const std::filesystem::path& path, const SafeTensors& content) {
  (void)save_summed(path, content);
}

Checksum save_summed(const std::filesystem::path& path, const SafeTensors& content) {
  const auto entries = entries_of(path, content);
  const auto head = head_of(path, entries, content);
  const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  auto beside = path;
  beside += ".tmp-" + std::to_string(::getpid());
  Crc32c crc;
  std::uint64_t size = head.size();

  try {
    const Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0) fail_errno(path, "could not create");
    write_all(file.get(), head.data(), head.size(), crc, path);
    for (const auto& entry : entries) {
      const auto bytes = entry.tensor.cpu().contiguous();
      write_all(file.get(), bytes.const_data_ptr(), bytes.nbytes(), crc, path);
      size += bytes.nbytes();
    }
    if (::fsync(file.get()) != 0) fail_errno(path, "could not write");
    if (::rename(beside.c_str(), path.c_str()) != 0) fail_errno(path, "could not rename into place");
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  const Fd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0 || ::fsync(dir.get()) != 0) fail_errno(path, "could not make the new file durable");
  return {size, crc.value()};
}

SafeTensors load_safetensors(const std::filesystem::path& path) { return load_checked(path, std::nullopt); }

SafeTensors load_checked(const std::filesystem::path& path, const std::optional<Checksum>& expected) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail_errno(path, "could not open");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_errno(path, "could not read");
  if (!S_ISREG(status.st_mode)) fail(path, "not a regular file");
  const auto file_size = static_cast<std::uint64_t>(status.st_size);
  if (expected && file_size != expected->bytes) require_same(path, *expected, {file_size, 0});

  Crc32c crc;
  std::uint64_t header_size = 0;
  if (file_size < sizeof header_size)
    fail(path, "too short for a safetensors file (" + std::to_string(file_size) + " bytes)");
  read_exactly(file.get(), &header_size, sizeof header_size, 0, crc, path);
  if (header_size > kHeaderBytesMax)
    fail(path, "no safetensors file: it claims a header of " + std::to_string(header_size) +
                   " bytes, over the format's 100,000,000");
  if (header_size > file_size - sizeof header_size) fail(path, "the file ends within its header");
  std::string text(header_size, '\0');
  read_exactly(file.get(), text.data(), text.size(), sizeof header_size, crc, path);
  const auto data_at = sizeof header_size + header_size;
  const auto header = [&] {
    try {
      return tensors::parse_safetensors_header(text, file_size - data_at);
    } catch (const std::runtime_error& wrong) {
      fail(path, wrong.what());
    }
  }();

  SafeTensors content;
  for (const auto& [key, value] : header.metadata) content.metadata.emplace(key, value);
  for (const auto& described : header.tensors) {
    const auto type = checkpoint::scalar_type_of(*described.dtype);
    auto tensor = at::empty(described.shape, type);
    read_exactly(file.get(), tensor.mutable_data_ptr(), tensor.nbytes(), data_at + described.begin, crc,
                 path);
    if (type == at::kBool) {
      const auto* bytes = static_cast<const std::uint8_t*>(tensor.const_data_ptr());
      if (std::any_of(bytes, bytes + tensor.nbytes(), [](std::uint8_t byte) { return byte > 1; })) {
        fail(path, "tensor \"" + described.name + "\": a BOOL that is neither 0 nor 1");
      }
    }
    content.tensors.emplace(described.name, std::move(tensor));
  }
  // The tensors cover the data, each byte once, and were read in their order.
  if (expected) require_same(path, *expected, {file_size, crc.value()});
  return content;
}

}  // namespace rtrain
