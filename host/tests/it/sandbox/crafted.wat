;; A plugin with one task, in whose place anything may stand.
(component
  $COMPONENT
  (core module $main
    $IMPORTS
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 8192))
    (data (i32.const 1024) "$ONE")
    (data (i32.const 2048) "$TWO")
    $MODULE
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) $REALLOC)
    (func (export "describe") (result i32) $DESCRIBE)
    (func (export "run") (param i32 i32 i32 i32) (result i32) (local $n i32) $RUN))
  (core instance $main (instantiate $main $WITH))

  (type $retry (variant (case "by-policy") (case "never") (case "after-ms" u64)))
  (type $failure (record
    (field "code" string)
    (field "message" string)
    (field "data" (option (list u8)))
    (field "retry" $retry)))
  (func $describe (result (list u8))
    (canon lift (core func $main "describe") (memory (core memory $main "memory"))))
  (func $run (param "task" string) (param "args" (list u8)) (result (result (list u8) (error $failure)))
    (canon lift (core func $main "run") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))

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
