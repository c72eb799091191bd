#include "worker/sdk/rank_failure.h"

#include "proto/message/types.h"
#include "worker/runtime/failure_place.h"
#include "worker/runtime/size_hint.h"

#include <rtrain/invalid_hyperparameters.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace rtrain::sdk {
namespace {

/// cudaError_t of CUDA 12 and 13 (driver_types.h); the numbers never change.
constexpr std::array<std::int32_t, 21> kOfNode{
    34,   // cudaErrorStubLibrary: libcuda.so is the toolkit's stub
    35,   // cudaErrorInsufficientDriver
    36,   // cudaErrorCallRequiresNewerDriver
    46,   // cudaErrorDevicesUnavailable: held by another process, in exclusive mode
    100,  // cudaErrorNoDevice
    102,  // cudaErrorDeviceNotLicensed
    127,  // cudaErrorStartupFailure
    214,  // cudaErrorECCUncorrectable
    216,  // cudaErrorDeviceAlreadyInUse
    220,  // cudaErrorNvlinkUncorrectable
    226,  // cudaErrorContained: a peer's GPU, NVLink or the hardware
    714,  // cudaErrorHardwareStackError
    802,  // cudaErrorSystemNotReady
    803,  // cudaErrorSystemDriverMismatch
    804,  // cudaErrorCompatNotSupportedOnDevice
    805,  // cudaErrorMpsConnectionFailed
    806,  // cudaErrorMpsRpcFailure
    807,  // cudaErrorMpsServerNotReady
    808,  // cudaErrorMpsMaxClientsReached
    809,  // cudaErrorMpsMaxConnectionsReached
    810,  // cudaErrorMpsClientTerminated
};

/// c10d's watchdog quotes the what() of the error that it met, with its stack in the middle of the text.
std::string without_stacks(std::string text) {
  constexpr std::string_view kStack = "\nException raised from ";
  if (const auto at = text.find(kStack); at != std::string::npos) text.resize(at);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// Gloo's threads throw where a message is longer than what was to be received. Its headers are seen by one
/// file only, so the type is known by its name.
bool is_of_gloo(const std::exception_ptr& failure) {
  const auto* type = failure.__cxa_exception_type();
  return type != nullptr && std::string_view(type->name()).starts_with("N4gloo");
}

/// In 2.11 and older; beside it, c10d's monitor ends the process without an exception.
bool tells_of_watchdogs_timeout(const std::string& message) {
  return message.find("Watchdog caught collective operation timeout") != std::string::npos;
}

std::function<void(const std::exception_ptr&)>& end_of_torch_runtime() {
  static auto* const end = new std::function<void(const std::exception_ptr&)>;  // outlives static destruction
  return *end;
}
std::terminate_handler before = nullptr;

void on_terminate() {
  if (const auto failure = std::current_exception(); failure != nullptr && is_of_torch_runtime(failure))
    end_of_torch_runtime()(failure);
  if (before != nullptr) before();
  std::abort();
}

}  // namespace

bool is_of_node(std::int32_t cuda_code) { return std::ranges::find(kOfNode, cuda_code) != kOfNode.end(); }

RankFailure rank_failure(const std::exception_ptr& failure, const std::string& kind) {
  const auto place = runtime::failure_prefix(failure);
  try {
    std::rethrow_exception(failure);
  } catch (const DeviceError& error) {
    return {"hardware", error.what()};
  } catch (const InvalidHyperparameters& error) {
    return {std::string(proto::kInvalidHyperparameters), place + error.what()};
  } catch (const c10::AcceleratorError& error) {
    return {is_of_node(error.get_error_code()) ? "hardware" : kind,
            place + without_stacks(error.what_without_backtrace())};
  } catch (const c10::Error& error) {
    auto message = place + without_stacks(error.what_without_backtrace());
    return {tells_of_watchdogs_timeout(message) ? "timeout" : kind, std::move(message)};
  } catch (...) {
    auto message = place + runtime::failure_text(failure);
    if (is_of_gloo(failure)) message += runtime::size_hint(message);
    return {kind, std::move(message)};
  }
}

bool is_of_torch_runtime(const std::exception_ptr& failure) {
  if (is_of_gloo(failure)) return true;
  try {
    std::rethrow_exception(failure);
  } catch (const c10::DistError&) {
    return true;
  } catch (const c10::AcceleratorError&) {
    return true;
  } catch (const DeviceError&) {
    return true;
  } catch (...) {
    return false;
  }
}

void install_terminate_handler(std::function<void(const std::exception_ptr&)> end) {
  end_of_torch_runtime() = std::move(end);
  before = std::set_terminate(on_terminate);
}

}  // namespace rtrain::sdk
