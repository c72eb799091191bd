#include "worker/metrics/warnings.h"

#include "worker/run/warn.h"

#include <mutex>
#include <set>

namespace rtrain::metrics {

void warn_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(text).second) warn(text);
}

}  // namespace rtrain::metrics
