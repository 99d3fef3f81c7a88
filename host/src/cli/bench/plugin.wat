;; The plugin that `hostler bench` measures with: `noop` answers null, `now` answers the wall clock in
;; microseconds since 1970. Text, so that it stands here whole and needs no toolchain.
(component
  (import "wasi:clocks/wall-clock@0.2.0" (instance $clock
    (type $datetime' (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $datetime')))
    (export "now" (func (result $datetime)))))

  ;; The memory comes first: what is imported writes into it.
  (core module $memory
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 4096))
    ;; Nothing is ever freed: a sandbox runs one call. What does not fit traps.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (if (i32.gt_u (global.get $top) (i32.const 65536)) (then unreachable))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (core func $now (canon lower (func $clock "now") (memory (core memory $memory "memory"))))

  (core module $tasks
    (import "memory" "memory" (memory 1))
    (import "clock" "now" (func $now (param i32)))
    (data (i32.const 8) "null")
    (data (i32.const 1024) "{\"contract\":\"hostler:plugin@0.1.0\",\"name\":\"bench\",\"version\":\"0.1.0\",\"tasks\":[{\"name\":\"noop\",\"description\":\"Answers null.\"},{\"name\":\"now\",\"description\":\"Answers the wall clock in microseconds since 1970.\"}]}")
    ;; 16: where a list is returned. 32: where a result is returned, its payload from 40 on. 64: the time.
    (func (export "describe") (result i32)
      (i32.store (i32.const 16) (i32.const 1024))
      (i32.store (i32.const 20) (i32.const 206))
      (i32.const 16))
    (func (export "run") (param $task i32) (param $task_bytes i32) (param i32 i32) (result i32)
      (local $digit i32)
      (local $rest i64)
      (i32.store8 (i32.const 32) (i32.const 0))
      (if (i32.eq (local.get $task_bytes) (i32.const 4))
        (then
          (i32.store (i32.const 40) (i32.const 8))
          (i32.store (i32.const 44) (i32.const 4)))
        (else
          (call $now (i32.const 64))
          (local.set $rest
            (i64.add
              (i64.mul (i64.load (i32.const 64)) (i64.const 1000000))
              (i64.extend_i32_u (i32.div_u (i32.load (i32.const 72)) (i32.const 1000)))))
          (local.set $digit (i32.const 128))
          (loop $next
            (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
            (i32.store8 (local.get $digit)
              (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $rest) (i64.const 10)))))
            (local.set $rest (i64.div_u (local.get $rest) (i64.const 10)))
            (br_if $next (i64.ne (local.get $rest) (i64.const 0))))
          (i32.store (i32.const 40) (local.get $digit))
          (i32.store (i32.const 44) (i32.sub (i32.const 128) (local.get $digit)))))
      (i32.const 32)))
  (core instance $tasks (instantiate $tasks
    (with "memory" (instance $memory))
    (with "clock" (instance (export "now" (func $now))))))

  (type $retry (variant (case "by-policy") (case "never") (case "after-ms" u64)))
  (type $failure (record
    (field "code" string)
    (field "message" string)
    (field "data" (option (list u8)))
    (field "retry" $retry)))
  (func $describe (result (list u8))
    (canon lift (core func $tasks "describe") (memory (core memory $memory "memory"))))
  (func $run (param "task" string) (param "args" (list u8)) (result (result (list u8) (error $failure)))
    (canon lift (core func $tasks "run") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))

  ;; An interface names its types: they come in as they are and go out under their names.
  (component $guest
    (type $retry' (variant (case "by-policy") (case "never") (case "after-ms" u64)))
    (import "retry" (type $retry (eq $retry')))
    (type $failure' (record
      (field "code" string)
      (field "message" string)
      (field "data" (option (list u8)))
      (field "retry" $retry)))
    (import "failure" (type $failure (eq $failure')))
    (import "describe" (func $describe (result (list u8))))
    (import "run" (func $run
      (param "task" string) (param "args" (list u8)) (result (result (list u8) (error $failure)))))
    (export $named_retry "retry" (type $retry'))
    (type $failure'' (record
      (field "code" string)
      (field "message" string)
      (field "data" (option (list u8)))
      (field "retry" $named_retry)))
    (export $named_failure "failure" (type $failure''))
    (export "describe" (func $describe) (func (result (list u8))))
    (export "run" (func $run) (func
      (param "task" string) (param "args" (list u8)) (result (result (list u8) (error $named_failure))))))
  (instance $guest (instantiate $guest
    (with "retry" (type $retry))
    (with "failure" (type $failure))
    (with "describe" (func $describe))
    (with "run" (func $run))))
  (export "hostler:plugin/guest@0.1.0" (instance $guest)))
