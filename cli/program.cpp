#include "cli/parse.h"

#include <new>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace rtrain::cli {

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> all = {
      run_verb(),        submit_verb(), validate_verb(), plan_verb(),        list_verb(),
      status_verb(),     logs_verb(),   metrics_verb(),  events_verb(),      result_verb(),
      cancel_verb(),     hold_verb(),   release_verb(),  profile_verb(),     debug_verb(),
      queue_verb(),      nodes_verb(),  node_verb(),     reservation_verb(), prune_verb(),
      checkpoint_verb(), sweep_verb(),  doctor_verb(),   version_verb(),     help_verb()};
  return all;
}

const Verb* find_verb(std::string_view name) {
  for (const auto& verb : verbs())
    if (verb.name == name) return &verb;
  return nullptr;
}

namespace {

int run_checked(const std::vector<std::string>& args, const Getenv& getenv) {
  const auto refuse = [&](const Error& error) {
    Console(ColourChoice::kAuto, getenv).error(error);
    return static_cast<int>(exit_of(error.code()));
  };
  auto command = parse_command(args);
  if (!command) return refuse(command.error());
  auto colour = colour_choice(command->args);
  if (!colour) return refuse(colour.error());
  const Console console(*colour, getenv);
  if (command->verb == nullptr && command->version) {
    command->verb = find_verb("version");
    command->args.values.erase("version");
  }
  if (command->verb == nullptr) {
    // Asked for, the page is data; a bare `rtrain` is a mistake that the page answers.
    command->help ? console.out(help_page(console.out_colour()))
                  : console.err(help_page(console.err_colour()));
    return console.finish(static_cast<int>(command->help ? Exit::kOk : Exit::kUsage));
  }
  if (command->help) {
    console.out(help_page(*command->verb, console.out_colour()));
    return console.finish(0);
  }
  auto output = output_format(*command->verb, command->args);
  if (!output) return refuse(output.error());
  Call call{*command->verb, std::move(command->args), std::move(*output), console, getenv};
  auto status = command->verb->run(call);
  if (status) return console.finish(*status);
  console.error(status.error());
  return static_cast<int>(exit_of(status.error().code()));
}

/// Nothing is allocated for it.
int say_out_of_memory() {
  constexpr std::string_view kText =
      "error: no memory is left for this program\n"
      "hint: free shows what the machine has, ulimit -v the limit of this shell; a container and a service "
      "have limits of their own\n";
  (void)!::write(STDERR_FILENO, kText.data(), kText.size());
  return static_cast<int>(exit_of(Errc::kIo));
}

}  // namespace

int run_program(const std::vector<std::string>& args, const Getenv& getenv) {
  const auto refuse = [&](const Error& error) {
    Console(ColourChoice::kAuto, getenv).error(error);
    return static_cast<int>(exit_of(error.code()));
  };
  // An exception that nobody expected is an error as any other, not a core dump.
  try {
    try {
      return run_checked(args, getenv);
    } catch (const ErrorException& error) {
      return refuse(error.error());
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::system_error& error) {
      return refuse({Errc::kIo, error.what()});
    } catch (const std::exception& error) {
      return refuse({Errc::kInternal, error.what()});
    }
  } catch (const std::bad_alloc&) {
    return say_out_of_memory();
  }
}

}  // namespace rtrain::cli
