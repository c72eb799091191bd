#include "worker/runtime/failure_place.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <typeinfo>

namespace rtrain::runtime {
namespace {

struct KeptFailure {
  std::mutex mutex;
  std::exception_ptr failure;
  std::string text;
};

KeptFailure& place() {
  static auto* const kept = new KeptFailure;  // exit() may run while another thread throws
  return *kept;
}

std::string type_of_current_exception() {
  const auto* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "unknown";
  int failed = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(type->name(), nullptr, nullptr, &failed), &std::free);
  return failed == 0 ? name.get() : type->name();
}

}  // namespace

void set_failure_place(const std::exception_ptr& failure, const std::string& text) {
  auto& kept = place();
  const std::lock_guard lock(kept.mutex);
  if (kept.failure == failure) return;
  kept.failure = failure;
  kept.text = text;
}

std::string failure_prefix(const std::exception_ptr& failure) {
  auto& kept = place();
  const std::lock_guard lock(kept.mutex);
  return failure != nullptr && kept.failure == failure ? kept.text + ": " : std::string();
}

std::string failure_text(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  } catch (const std::string& text) {
    return "threw a string, not a std::exception: " + text;
  } catch (const char* text) {
    return std::string("threw a string, not a std::exception: ") + (text != nullptr ? text : "(null)");
  } catch (...) {
    return "threw an object that is not a std::exception, of type " + type_of_current_exception();
  }
}

}  // namespace rtrain::runtime
