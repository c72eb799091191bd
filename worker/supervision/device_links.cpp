#include "worker/supervision/device_links.h"

#include <filesystem>
#include <set>
#include <system_error>

namespace rtrain::supervision {

std::vector<std::string> open_gpu_files(const std::string& descriptors) {
  namespace fs = std::filesystem;
  std::set<std::string> found;
  std::error_code error;
  for (fs::directory_iterator link(descriptors, error), end; !error && link != end; link.increment(error)) {
    std::error_code gone;  // the folder's own descriptor is in it while it is read
    const auto target = fs::read_symlink(link->path(), gone).string();
    if (!gone && target.starts_with("/dev/nvidia")) found.insert(target);
  }
  return {found.begin(), found.end()};
}

}  // namespace rtrain::supervision
